/*
 * Confinement by the kernel that runs, which here must do what verdicts say. Where there are no filters the status is 77,
 * unless RINGWARDEN_REQUIRE_KERNEL is set.
 *
 * With the argument `refused`, it only looks whether its own NOPs are.
 */
#include "ring.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#ifndef __SANITIZE_ADDRESS__
/* Allocation of the whole process, which ends it where it was forbidden. */
static int no_allocation;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
    if (no_allocation)
        abort();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (no_allocation)
        abort();
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    if (no_allocation)
        abort();
    return __libc_realloc(old, size);
}
#else
static int no_allocation;
#endif

#define RULES(rules) "version = 1\ndefault = \"allow\"\n[ops]\n" rules

static struct io_uring_sqe request(int opcode)
{
    struct io_uring_sqe sqe;
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = (__u8)opcode;
    return sqe;
}

/* Whether the process is as it was. */
static int is_unchanged(void)
{
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
}

static void confined(const char *text)
{
    struct ringwarden_enforcement *enforcement = compiled(text, RINGWARDEN_RUNNING);
    struct ringwarden_error *error;
    SUCCEEDS(ringwarden_confine(enforcement, &error));
    ringwarden_enforcement_free(enforcement);
    CHECK(!is_unchanged());
}

static int nop(void)
{
    struct ring ring;
    CHECK(ring_make(&ring) == 0);
    return ring_do(&ring, request(IORING_OP_NOP));
}

static void refused_requests_fail_and_others_work(void)
{
    struct ring ring, before;
    struct io_uring_sqe write = request(IORING_OP_WRITE);
    int pipes[2];
    CHECK(pipe(pipes) == 0 && ring_make(&before) == 0 && ring_do(&before, request(IORING_OP_NOP)) == 0);
    confined(RULES("nop = \"deny\"\n"));
    CHECK(fcntl(before.fd, F_GETFD) == -1 && errno == EBADF);
    CHECK(ring_make(&ring) == 0);
    CHECK(ring_do(&ring, request(IORING_OP_NOP)) == -EACCES);
    write.fd = pipes[1];
    write.addr = (uintptr_t)"word";
    write.len = 4;
    CHECK(ring_do(&ring, write) == 4);
}

static void children_are_confined(void)
{
    int status;
    pid_t child;
    confined(RULES("nop = \"deny\"\n"));
    child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(nop() == -EACCES ? 0 : 1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void the_second_time_only_tightens(void)
{
    struct ring ring;
    confined(RULES("nop = \"deny\"\n"));
    confined(RULES("fsync = \"deny\"\n"));
    CHECK(ring_make(&ring) == 0);
    CHECK(ring_do(&ring, request(IORING_OP_NOP)) == -EACCES);
    CHECK(ring_do(&ring, request(IORING_OP_FSYNC)) == -EACCES);
}

static void register_calls_are_refused(void)
{
    struct ring ring;
    char probe[16 + 8];
    memset(probe, 0, sizeof probe);
    confined("version = 1\ndefault = \"allow\"\n[register]\ndefault = \"allow\"\ndeny = [\"probe\"]\n");
    CHECK(ring_make(&ring) == 0);
    CHECK(syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_PROBE, probe, 1) == -1 && errno == EACCES);
}

/* What filters cannot hold is refused before anything is done. */
static void rings_are_no_filters_affair(void)
{
    struct ringwarden_enforcement *enforcement =
        compiled("version = 1\ndefault = \"allow\"\n[setup]\ndeny_flags = [\"SQPOLL\"]\n", RINGWARDEN_RUNNING);
    struct ringwarden_error *error;
    FAILS(RINGWARDEN_E_BEYOND, ringwarden_confine(enforcement, &error));
    CHECK(strstr(ringwarden_error_text(error), "p.toml:4") != NULL && is_unchanged());
    ringwarden_error_free(error);
    ringwarden_enforcement_free(enforcement);
}

static void *wait_for_end(void *end)
{
    char byte;
    return read(*(int *)end, &byte, 1) == 0 ? NULL : end;
}

static void other_threads_would_go_free(void)
{
    struct ringwarden_enforcement *enforcement = compiled(RULES("nop = \"deny\"\n"), RINGWARDEN_RUNNING);
    struct ringwarden_error *error;
    pthread_t thread;
    int pipes[2], status;
    pid_t child;
    CHECK(pipe(pipes) == 0 && pthread_create(&thread, NULL, wait_for_end, &pipes[0]) == 0);
    FAILS(RINGWARDEN_E_THREADS, ringwarden_confine(enforcement, &error));
    CHECK(is_unchanged());
    ringwarden_error_free(error);
    /* Of a fork there is one thread; what the others were doing with the heap nobody knows. */
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        no_allocation = 1;
        _exit(ringwarden_confine(enforcement, NULL) == RINGWARDEN_OK && nop() == -EACCES ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(close(pipes[1]) == 0 && pthread_join(thread, NULL) == 0 && nop() == 0);
    ringwarden_enforcement_free(enforcement);
}

/* struct io_uring_bpf and what it holds (Linux 7.0), which older headers lack. */
struct registration {
    uint16_t command, command_flags;
    uint32_t reserved;
    uint32_t opcode, flags, length;
    uint8_t payload_size, reserved_bytes[3];
    uint64_t instructions;
    uint64_t reserved_words[5];
};

static void programs_can_be_registered_on_a_ring(void)
{
    enum { REGISTER_BPF_FILTER = 37, COMMAND_FILTER = 1 };
    struct ringwarden_enforcement *enforcement =
        compiled("version = 1\ndefault = \"deny\"\n[ops]\nnop = \"allow\"\nsocket = \"family == AF_UNIX\"\n",
                 RINGWARDEN_RUNNING);
    struct ring ring;
    struct io_uring_sqe socket_request = request(IORING_OP_SOCKET);
    size_t index;
    CHECK(ring_make(&ring) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    for (index = 0; index < ringwarden_filter_count(enforcement); index++) {
        struct ringwarden_filter filter;
        struct ringwarden_error *error;
        struct registration registration;
        SUCCEEDS(ringwarden_filter_at(enforcement, index, &filter, &error));
        memset(&registration, 0, sizeof registration);
        registration.command = COMMAND_FILTER;
        registration.opcode = filter.opcode;
        registration.flags = filter.flags;
        registration.length = filter.length;
        registration.payload_size = (uint8_t)filter.payload_size;
        registration.instructions = (uintptr_t)filter.instructions;
        CHECK(syscall(__NR_io_uring_register, ring.fd, REGISTER_BPF_FILTER, &registration, 1) == 0);
    }
    ringwarden_enforcement_free(enforcement);
    CHECK(ring_do(&ring, request(IORING_OP_NOP)) == 0);
    CHECK(ring_do(&ring, request(IORING_OP_FSYNC)) == -EACCES);
    socket_request.fd = AF_INET;
    socket_request.off = SOCK_STREAM;
    CHECK(ring_do(&ring, socket_request) == -EACCES);
    socket_request.fd = AF_UNIX;
    CHECK(ring_do(&ring, socket_request) >= 0);
    CHECK(nop() == 0);
}

/* The kernel refuses what the verdicts say, and nothing else, with the same errno. */
static void verdicts_are_the_kernels(void)
{
    static const char text[] = RULES("socket = \"family == AF_UNIX\"\n"
                                     "connect = \"port == 443\"\n"
                                     "openat = \"flags & O_CREAT == 0\"\n"
                                     "openat2 = \"flags & O_CREAT == 0\"\n");
    struct ringwarden_enforcement *enforcement = compiled(text, RINGWARDEN_RUNNING);
    struct io_uring_sqe requests[12];
    struct sockaddr_in https, http;
    uint64_t plain[3] = { 0, 0, 0 }, creating[3] = { O_CREAT, 0600, 0 };
    struct ring ring;
    size_t index, refused = 0;
    int any = socket(AF_INET, SOCK_STREAM, 0);
    memset(&https, 0, sizeof https);
    https.sin_family = AF_INET;
    https.sin_port = htons(443);
    http = https;
    http.sin_port = htons(80);
    for (index = 0; index < 12; index++)
        requests[index] = request(IORING_OP_NOP);
    requests[1] = request(255);
    requests[2] = request(IORING_OP_SOCKET);
    requests[2].fd = AF_UNIX;
    requests[2].off = SOCK_STREAM;
    requests[3] = requests[2];
    requests[3].fd = AF_INET;
    requests[4] = request(IORING_OP_CONNECT);
    requests[4].fd = any;
    requests[4].addr = (uintptr_t)&https;
    requests[4].off = sizeof https;
    requests[5] = requests[4];
    requests[5].addr = (uintptr_t)&http;
    requests[6] = requests[4];
    requests[6].addr = 16;
    requests[7] = request(IORING_OP_OPENAT);
    requests[7].fd = AT_FDCWD;
    requests[7].addr = (uintptr_t)"/missing";
    requests[8] = requests[7];
    requests[8].open_flags = O_CREAT;
    requests[9] = request(IORING_OP_OPENAT2);
    requests[9].fd = AT_FDCWD;
    requests[9].addr = (uintptr_t)"/missing";
    requests[9].off = (uintptr_t)plain;
    requests[9].len = sizeof plain;
    requests[10] = requests[9];
    requests[10].off = (uintptr_t)creating;
    requests[11] = requests[9];
    requests[11].len = 8;
    {
        struct ringwarden_error *error;
        SUCCEEDS(ringwarden_confine(enforcement, &error));
    }
    CHECK(ring_make(&ring) == 0);
    for (index = 0; index < 12; index++) {
        struct ringwarden_verdict verdict;
        struct ringwarden_error *error;
        int res = ring_do(&ring, requests[index]);
        SUCCEEDS(ringwarden_judge(enforcement, &requests[index], sizeof requests[index], ringwarden_read_self, NULL,
                                  &verdict, &error));
        if (verdict.res != 0 ? res != verdict.res : res == -EACCES) {
            fprintf(stderr, "request %u: %d, and the verdict is %d\n", (unsigned)index, res, verdict.res);
            exit(1);
        }
        refused += verdict.reason == RINGWARDEN_REFUSED;
    }
    CHECK(refused == 4);
    ringwarden_enforcement_free(enforcement);
}

#ifndef __SANITIZE_ADDRESS__
/* Else it would not be known that confinement does without. */
static void allocation_can_be_forbidden(void)
{
    struct ringwarden_policy *policy;
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        no_allocation = 1;
        _exit(ringwarden_policy_from_file("@nothing", &policy, NULL) == RINGWARDEN_OK ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#endif

/* What cannot be undone is done by a child. */
static void in_child(void (*test)(void), const char *name)
{
    int status;
    pid_t child;
    printf("%s\n", name);
    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test();
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

#define IN_CHILD(test) in_child(test, #test)

int main(int argc, char **argv)
{
    struct ringwarden_policy *policy = parsed(RULES("nop = \"deny\"\n"), "p.toml");
    struct ringwarden_enforcement *enforcement;
    struct ringwarden_error *error;
    int code;
    if (argc > 1) {
        ringwarden_policy_free(policy);
        CHECK(strcmp(argv[1], "refused") == 0);
        return nop() == -EACCES ? 0 : 1;
    }
    code = ringwarden_enforcement_new(&policy, 1, RINGWARDEN_RUNNING, &enforcement, &error);
    ringwarden_policy_free(policy);
    if (code == RINGWARDEN_E_LACKING && getenv("RINGWARDEN_REQUIRE_KERNEL") == NULL) {
        printf("skipped: %s\n", ringwarden_error_text(error));
        CHECK(enforcement == NULL && ringwarden_error_code(error) == code && is_unchanged());
        ringwarden_error_free(error);
        return 77;
    }
    if (code != RINGWARDEN_OK) {
        fprintf(stderr, "%s\n", ringwarden_error_text(error));
        return 1;
    }
    printf("kernel %s\n", ringwarden_enforcement_kernel(enforcement));
    ringwarden_enforcement_free(enforcement);
#ifndef __SANITIZE_ADDRESS__
    IN_CHILD(allocation_can_be_forbidden);
#endif
    IN_CHILD(refused_requests_fail_and_others_work);
    IN_CHILD(children_are_confined);
    IN_CHILD(the_second_time_only_tightens);
    IN_CHILD(register_calls_are_refused);
    IN_CHILD(rings_are_no_filters_affair);
    IN_CHILD(other_threads_would_go_free);
    IN_CHILD(programs_can_be_registered_on_a_ring);
    IN_CHILD(verdicts_are_the_kernels);
    return 0;
}
