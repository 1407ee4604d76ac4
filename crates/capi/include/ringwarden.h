/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Ringwarden: io_uring under a policy.
 *
 * Policies are loaded, combined and compiled for a kernel; then requests are judged, programs taken for
 * IORING_REGISTER_BPF_FILTER, or the caller confined. ringwarden(3) has a whole program; docs/policy.md the language.
 *
 * Every function that can fail returns RINGWARDEN_OK or a negative code of enum ringwarden_code. Where the last argument
 * is not NULL, it then leads to an error that tells more, which is freed with ringwarden_error_free(); after a success
 * there is NULL. Results are NULL or zeros after a failure; what stood there before is overwritten, not freed. A null
 * pointer is an error and no crash, unless it is said to be allowed. A fault inside becomes RINGWARDEN_E_INTERNAL; memory
 * that has run out ends the program.
 *
 * Handles do not change once they are made: any number of threads can use one at a time, and nobody may while or after it
 * is freed. Functions have no other state in common. No function may be called in a signal handler, and between the fork
 * of a program with several threads and its exec ringwarden_confine() alone, without an error.
 *
 * Text is UTF-8 in every locale.
 */
#ifndef RINGWARDEN_H
#define RINGWARDEN_H

#include <stddef.h>
#include <stdint.h>

/* The version of this header; ringwarden_version() is that of the library. */
#define RINGWARDEN_VERSION "0.1.0"
#define RINGWARDEN_VERSION_MAJOR 0
#define RINGWARDEN_VERSION_MINOR 1
#define RINGWARDEN_VERSION_PATCH 0

#if defined(__GNUC__)
#define RINGWARDEN_CHECKED __attribute__((__warn_unused_result__))
#else
#define RINGWARDEN_CHECKED
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* <linux/io_uring.h> and <linux/filter.h> have these; this header needs neither. */
struct io_uring_params;
struct sock_filter;

/* A policy, read and checked. */
struct ringwarden_policy;
/* Policies that are compiled for a kernel. */
struct ringwarden_enforcement;
/* What is wrong. */
struct ringwarden_error;

/* What functions return. Later versions may add codes. */
enum ringwarden_code {
    RINGWARDEN_OK = 0,
    /* A null pointer, a size that is none, no policy: the caller is wrong. */
    RINGWARDEN_E_ARGUMENT = -1,
    /* A policy cannot be read: ringwarden_error_errno() says why, if the system was asked. */
    RINGWARDEN_E_FILE = -2,
    /* A policy is wrong, or that kernel's filters cannot hold it: ringwarden_error_diagnostic() has each place. */
    RINGWARDEN_E_POLICY = -3,
    /* No such kernel is known; or to confine, something is compiled for another kernel than the one that runs. */
    RINGWARDEN_E_KERNEL = -4,
    /* This machine has no io_uring filters that can be relied on: the text says what is in the way. */
    RINGWARDEN_E_LACKING = -5,
    /* The policy says something of rings ([setup]), which filters of a task do not see. */
    RINGWARDEN_E_BEYOND = -6,
    /* The process has other threads, which would not be confined. */
    RINGWARDEN_E_THREADS = -7,
    /* The kernel refused a part of the confinement. What came before that part is in force. */
    RINGWARDEN_E_CONFINE = -8,
    /* A fault of the library's. */
    RINGWARDEN_E_INTERNAL = -9
};

/* The version of the library, such as "0.1.0". */
const char *ringwarden_version(void);

/* A code in a few words; the text is always there. */
const char *ringwarden_code_text(int code);

/*
 * Errors. NULL, for each of these functions, is an error that says nothing: code RINGWARDEN_OK, an empty text.
 */

/* The code that the function returned. RINGWARDEN_OK for warnings. */
int ringwarden_error_code(const struct ringwarden_error *error);

/* The errno behind it, positive; 0 where there is none. */
int ringwarden_error_errno(const struct ringwarden_error *error);

/* All of it for people: for policies several lines, with the places underlined, and suggestions. */
const char *ringwarden_error_text(const struct ringwarden_error *error);

/* How many places of policies it is about; 0 where it is about something else. */
size_t ringwarden_error_count(const struct ringwarden_error *error);

/* One mistake in a policy, or a warning. Its text lives as long as the error. */
struct ringwarden_diagnostic {
    /* What it is about, such as "P203"; the same in every version. */
    const char *id;
    /* As it was named, or as a policy that extends it names it. */
    const char *file;
    /* One sentence. */
    const char *message;
    /* What would mend it; NULL where nobody knows. */
    const char *help;
    /* Both from 1; columns count characters. */
    uint32_t line;
    uint32_t column;
    /* 0. */
    uint64_t reserved[2];
};

/* One of them, from 0, in the order of the files. RINGWARDEN_E_ARGUMENT behind the last. */
int ringwarden_error_diagnostic(const struct ringwarden_error *error, size_t index,
                                struct ringwarden_diagnostic *diagnostic);

void ringwarden_error_free(struct ringwarden_error *error);

/*
 * Policies.
 */

/*
 * Reads a policy from a file, with all that it extends; files that it names are looked for beside it. A path that begins
 * with '@' names a preset, such as "@net-server".
 *
 * RINGWARDEN_E_FILE, RINGWARDEN_E_POLICY.
 */
RINGWARDEN_CHECKED
int ringwarden_policy_from_file(const char *path, struct ringwarden_policy **policy, struct ringwarden_error **error);

/*
 * Reads a policy from length bytes of text. Errors and rules call it file, beside which files are looked for that it
 * extends; NULL is "policy" in the working folder. No such file has to be there.
 *
 * RINGWARDEN_E_FILE if the text is not UTF-8, RINGWARDEN_E_POLICY.
 */
RINGWARDEN_CHECKED
int ringwarden_policy_from_text(const char *text, size_t length, const char *file, struct ringwarden_policy **policy,
                                struct ringwarden_error **error);

/* What the policy calls itself; NULL if nothing, and for NULL. It lives as long as the policy. */
const char *ringwarden_policy_name(const struct ringwarden_policy *policy);

/*
 * What the policy says and hardly means. warnings becomes an error with the code RINGWARDEN_OK, which is to be freed; NULL
 * where there is nothing to warn of.
 */
int ringwarden_policy_warnings(const struct ringwarden_policy *policy, struct ringwarden_error **warnings,
                               struct ringwarden_error **error);

/* Frees it. Enforcements that were made of it do not need it. NULL is allowed. */
void ringwarden_policy_free(struct ringwarden_policy *policy);

/*
 * Enforcements.
 */

/* The kernel that runs, as far as its filters pass a self-test. */
#define RINGWARDEN_RUNNING "running"

/*
 * Compiles policies for a kernel. A request must be allowed by all of them; they are layers 0 to count - 1.
 *
 * kernel is
 *   RINGWARDEN_RUNNING    what the kernel does that runs, found out in throw-away children, which takes some milliseconds.
 *                         Only this can confine the caller. SIGCHLD is sent for each of the children, and a handler
 *                         must not wait for what it has not started;
 *   "7.0", "7.2", "7.3"   the filters of that release, whatever runs: to judge requests, or for programs;
 *   "guard"               what only Ringwarden's guard sees as well (docs/policy.md): to judge requests;
 *   NULL                  the newest release, or "guard" where a rule needs it.
 *
 * RINGWARDEN_E_POLICY if a rule asks for what that kernel's filters do not see, RINGWARDEN_E_KERNEL for another name,
 * RINGWARDEN_E_LACKING for RINGWARDEN_RUNNING where the machine has no filters (Linux before 7.0, io_uring switched off,
 * a seccomp filter in the way).
 */
RINGWARDEN_CHECKED
int ringwarden_enforcement_new(struct ringwarden_policy *const *policies, size_t count, const char *kernel,
                               struct ringwarden_enforcement **enforcement, struct ringwarden_error **error);

/* The kernel that it is compiled for, by its name: never "running". NULL for NULL. */
const char *ringwarden_enforcement_kernel(const struct ringwarden_enforcement *enforcement);

/* The rules of which it could not be proved that their programs say what they do; as ringwarden_policy_warnings(). */
int ringwarden_enforcement_warnings(const struct ringwarden_enforcement *enforcement,
                                    struct ringwarden_error **warnings, struct ringwarden_error **error);

/* Frees it. NULL is allowed. */
void ringwarden_enforcement_free(struct ringwarden_enforcement *enforcement);

/*
 * Verdicts. No kernel takes part: what is judged need not be possible on this machine.
 */

/* A rule of a policy. Its text lives as long as the enforcement. */
struct ringwarden_rule {
    /* The file, as it was named; NULL, as key and text, where no rule has decided. */
    const char *file;
    /* The key: an operation, a group with its '@', "default", "require"; or such as "register.default". */
    const char *key;
    /* The value: "allow", "deny" or a condition. */
    const char *text;
    /* Both from 1; columns count characters. */
    uint32_t line;
    uint32_t column;
    /* Which of the policies, from 0. */
    uint32_t layer;
    /* 0. */
    uint32_t reserved;
};

enum ringwarden_reason {
    /* No policy has anything against it. What else the kernel may say is its own affair. */
    RINGWARDEN_ALLOWED = 0,
    /* A rule refuses it. */
    RINGWARDEN_REFUSED = 1,
    /* The kernel refuses the request before any filter sees it: it does not know the operation or a flag, or the
     * request leads to memory that is not there. */
    RINGWARDEN_MALFORMED = 2
};

struct ringwarden_verdict {
    /* 0 if it is allowed; else what comes back: -EACCES, or as the kernel has it another negative errno. */
    int32_t res;
    /* enum ringwarden_reason. */
    uint32_t reason;
    /* The rule that refuses it. */
    struct ringwarden_rule rule;
    /* 0. */
    uint64_t reserved[2];
};

/*
 * Fills length bytes from an address of the memory that a request points at. Returns 0, or anything else where not all of
 * it can be read. It must return: no longjmp, no exception.
 */
typedef int ringwarden_read(void *context, uint64_t address, void *bytes, size_t length);

/* A ringwarden_read for the memory of the calling process: what is not there is an error and no crash. */
int ringwarden_read_self(void *context, uint64_t address, void *bytes, size_t length);

/*
 * What becomes of a request, in the kernel's order: flags and operation, the operation's own preparation, policies. It
 * stands alone in its submission, on a ring without flags, or with IORING_SETUP_SQE128 where sqe_size is 128 and not 64.
 * sqe need not be aligned.
 *
 * Preparation reads what the request points at, as much of it as the kernel reads before it asks filters: paths, addresses,
 * struct open_how. read is called for that with context in the calling thread, any number of times. Memory that another
 * can change meanwhile must be copied before, as the kernel does: what is submitted later may say something else.
 *
 * Only RINGWARDEN_E_ARGUMENT and RINGWARDEN_E_INTERNAL; after both the verdict is one that refuses.
 */
RINGWARDEN_CHECKED
int ringwarden_judge(const struct ringwarden_enforcement *enforcement, const void *sqe, size_t sqe_size,
                     ringwarden_read *read, void *context, struct ringwarden_verdict *verdict,
                     struct ringwarden_error **error);

/*
 * The memory that the verdict on a request depends on: what a supervisor has to copy for ringwarden_judge_argument().
 * length is 0 where the request itself says all that the policies ask for, as nearly always: only OPENAT2, CONNECT and,
 * for "guard", BIND have more. It is what the request says, up to 4 GiB.
 */
int ringwarden_argument(const struct ringwarden_enforcement *enforcement, const void *sqe, size_t sqe_size,
                        uint64_t *address, size_t *length, struct ringwarden_error **error);

/*
 * What the policies say of a request with that argument, of which no more counts than the request says; less is
 * RINGWARDEN_MALFORMED with -EFAULT. Where ringwarden_argument() gives a length of 0 it may be NULL. What the kernel
 * itself has against other parts of the request is not looked at.
 *
 * RINGWARDEN_E_ARGUMENT; after that the verdict is one that refuses.
 */
RINGWARDEN_CHECKED
int ringwarden_judge_argument(const struct ringwarden_enforcement *enforcement, const void *sqe, size_t sqe_size,
                              const void *argument, size_t argument_size, struct ringwarden_verdict *verdict,
                              struct ringwarden_error **error);

/*
 * What [setup] says of io_uring_setup(entries, params): -EPERM for a flag, -EINVAL for a size.
 */
RINGWARDEN_CHECKED
int ringwarden_judge_setup(const struct ringwarden_enforcement *enforcement, uint32_t entries,
                           const struct io_uring_params *params, struct ringwarden_verdict *verdict,
                           struct ringwarden_error **error);

/*
 * What [register] says of io_uring_register with that opcode, IORING_REGISTER_USE_REGISTERED_RING or not: -EACCES.
 * IORING_REGISTER_SEND_MSG_RING is a request of MSG_RING that no filter is shown: it is refused unless the policies allow
 * that whatever it asks for.
 */
RINGWARDEN_CHECKED
int ringwarden_judge_register(const struct ringwarden_enforcement *enforcement, uint32_t opcode,
                              struct ringwarden_verdict *verdict, struct ringwarden_error **error);

/*
 * Programs.
 */

/* What IORING_REGISTER_BPF_FILTER is told (struct io_uring_bpf_filter). All of it lives as long as the enforcement. */
struct ringwarden_filter {
    /* IORING_OP_*. */
    uint32_t opcode;
    /* IO_URING_BPF_FILTER_*: 1 denies all operations that have no filter by then, 2 has the kernel check payload_size. */
    uint32_t flags;
    /* pdu_size: how many bytes of the operation's own the program may look at. */
    uint32_t payload_size;
    /* How many instructions there are, 1 to 4096. */
    uint32_t length;
    const struct sock_filter *instructions;
    /* The rule that the program is. */
    struct ringwarden_rule rule;
    /* 0. */
    uint64_t reserved[2];
};

/* How many programs there are: 0 where the policies allow everything, and for NULL. */
size_t ringwarden_filter_count(const struct ringwarden_enforcement *enforcement);

/*
 * One of them, from 0. They are to be registered in this order, all of them, on a task or ring that has none; those for
 * "guard" no kernel takes. They hold neither [setup] nor [register].
 *
 * RINGWARDEN_E_ARGUMENT behind the last.
 */
int ringwarden_filter_at(const struct ringwarden_enforcement *enforcement, size_t index,
                         struct ringwarden_filter *filter, struct ringwarden_error **error);

/*
 * Confines the calling process and all that it starts or executes from now on, for good: sets no_new_privs, registers the
 * filters on the task, closes every io_uring among its descriptors, since those are not held to the policies, and installs
 * a seccomp filter where [register] or MSG_RING need one. No privilege is needed. It can be done again, by which only less
 * is allowed, unless [register] has refused IORING_REGISTER_BPF_FILTER.
 *
 * The enforcement is one for RINGWARDEN_RUNNING, and the process must have a single thread: one that has just been forked
 * has. There, in programs with several threads, error has to be NULL, and then no memory is allocated.
 *
 * RINGWARDEN_E_KERNEL, RINGWARDEN_E_BEYOND and RINGWARDEN_E_THREADS: nothing was done. RINGWARDEN_E_CONFINE: a part may be
 * in force, and who goes on is confined in part or not at all; ringwarden_error_errno() has the kernel's answer.
 */
RINGWARDEN_CHECKED
int ringwarden_confine(const struct ringwarden_enforcement *enforcement, struct ringwarden_error **error);

#ifdef __cplusplus
}
#endif

#endif
