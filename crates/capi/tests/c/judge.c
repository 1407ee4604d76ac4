/* Verdicts on requests and calls, and the rules behind them. */
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

static const char POLICY[] = "version = 1\n"
                             "default = \"deny\"\n"
                             "[ops]\n"
                             "\"@read-write\" = \"allow\"\n"
                             "openat = \"flags & O_CREAT == 0\"\n"
                             "openat2 = \"flags & O_CREAT == 0\"\n"
                             "connect = \"family == AF_INET && addr in 10.0.0.0/8 && port == 443\"\n"
                             "uring_cmd = \"allow\"\n"
                             "[setup]\n"
                             "deny_flags = [\"SQPOLL\"]\n"
                             "max_entries = 64\n"
                             "[register]\n"
                             "default = \"deny\"\n"
                             "allow = [\"probe\", \"send_msg_ring\"]\n";

static struct io_uring_sqe request(int opcode)
{
    struct io_uring_sqe sqe;
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = (__u8)opcode;
    return sqe;
}

static struct sockaddr_in address(const char *host, unsigned short port)
{
    struct sockaddr_in in;
    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    CHECK(inet_pton(AF_INET, host, &in.sin_addr) == 1);
    return in;
}

static struct io_uring_sqe connect_to(const struct sockaddr_in *in)
{
    struct io_uring_sqe sqe = request(IORING_OP_CONNECT);
    sqe.addr = (uintptr_t)in;
    sqe.off = sizeof *in;
    return sqe;
}

static struct ringwarden_verdict judged(const struct ringwarden_enforcement *enforcement,
                                        const struct io_uring_sqe *sqe)
{
    struct ringwarden_verdict verdict;
    struct ringwarden_error *error;
    SUCCEEDS(ringwarden_judge(enforcement, sqe, sizeof *sqe, ringwarden_read_self, NULL, &verdict, &error));
    return verdict;
}

static void allowed(struct ringwarden_verdict verdict)
{
    CHECK(verdict.res == 0 && verdict.reason == RINGWARDEN_ALLOWED && verdict.rule.key == NULL);
}

static void refused(struct ringwarden_verdict verdict, int res, const char *key, unsigned line, unsigned layer)
{
    CHECK(verdict.res == -res && verdict.reason == RINGWARDEN_REFUSED);
    CHECK(verdict.rule.key != NULL && strcmp(verdict.rule.key, key) == 0);
    CHECK(verdict.rule.line == line && verdict.rule.column >= 1 && verdict.rule.layer == layer);
    CHECK(verdict.rule.file != NULL && verdict.rule.text[0] != '\0');
}

static void malformed(struct ringwarden_verdict verdict, int res)
{
    CHECK(verdict.res == -res && verdict.reason == RINGWARDEN_MALFORMED && verdict.rule.key == NULL);
}

static void own_requests(const struct ringwarden_enforcement *enforcement)
{
    struct sockaddr_in https = address("10.1.2.3", 443), http = address("10.1.2.3", 80);
    struct io_uring_sqe sqe = request(IORING_OP_READ);
    struct ringwarden_verdict verdict;
    uint64_t how[3] = { 0, 0, 0 };
    allowed(judged(enforcement, &sqe));
    sqe = request(IORING_OP_UNLINKAT);
    sqe.addr = (uintptr_t)"file";
    refused(judged(enforcement, &sqe), EACCES, "default", 2, 0);

    sqe = connect_to(&https);
    allowed(judged(enforcement, &sqe));
    sqe = connect_to(&http);
    verdict = judged(enforcement, &sqe);
    refused(verdict, EACCES, "connect", 7, 0);
    CHECK(strcmp(verdict.rule.file, "p.toml") == 0);
    CHECK(strcmp(verdict.rule.text, "family == AF_INET && addr in 10.0.0.0/8 && port == 443") == 0);
    sqe.addr = 16;
    malformed(judged(enforcement, &sqe), EFAULT);

    sqe = request(IORING_OP_OPENAT);
    sqe.addr = (uintptr_t)"file";
    allowed(judged(enforcement, &sqe));
    sqe.open_flags = O_CREAT;
    refused(judged(enforcement, &sqe), EACCES, "openat", 5, 0);

    sqe = request(IORING_OP_OPENAT2);
    sqe.addr = (uintptr_t)"file";
    sqe.off = (uintptr_t)how;
    sqe.len = sizeof how;
    allowed(judged(enforcement, &sqe));
    how[0] = O_CREAT;
    refused(judged(enforcement, &sqe), EACCES, "openat2", 6, 0);
    sqe.len = 8;
    malformed(judged(enforcement, &sqe), EINVAL);

    sqe = request(255);
    malformed(judged(enforcement, &sqe), EINVAL);
    sqe = request(IORING_OP_READ);
    sqe.flags = 0x80;
    malformed(judged(enforcement, &sqe), EINVAL);
}

/* Another's memory: bytes at an address of its own. */
struct memory {
    uint64_t start;
    const void *bytes;
    size_t length;
    unsigned asked;
};

static int read_memory(void *context, uint64_t at, void *bytes, size_t length)
{
    struct memory *memory = context;
    memory->asked++;
    if (at < memory->start || at - memory->start > memory->length
        || length > memory->length - (size_t)(at - memory->start))
        return -EFAULT;
    memcpy(bytes, (const char *)memory->bytes + (at - memory->start), length);
    return 0;
}

static void others_requests(const struct ringwarden_enforcement *enforcement)
{
    struct sockaddr_in https = address("10.9.9.9", 443), elsewhere = address("192.0.2.1", 443);
    struct memory memory = { 0x10000, NULL, sizeof https, 0 };
    struct sockaddr_storage large;
    struct ringwarden_verdict verdict;
    struct ringwarden_error *error;
    uint64_t at;
    size_t length;
    unsigned char unaligned[1 + sizeof(struct io_uring_sqe)];
    struct io_uring_sqe sqe = connect_to(&https);
    sqe.addr = memory.start;
    memory.bytes = &https;
    SUCCEEDS(ringwarden_judge(enforcement, &sqe, sizeof sqe, read_memory, &memory, &verdict, &error));
    allowed(verdict);
    CHECK(memory.asked > 0);
    memory.bytes = &elsewhere;
    memcpy(unaligned + 1, &sqe, sizeof sqe);
    SUCCEEDS(ringwarden_judge(enforcement, unaligned + 1, sizeof sqe, read_memory, &memory, &verdict, &error));
    refused(verdict, EACCES, "connect", 7, 0);
    memory.length--;
    SUCCEEDS(ringwarden_judge(enforcement, &sqe, sizeof sqe, read_memory, &memory, &verdict, &error));
    malformed(verdict, EFAULT);

    SUCCEEDS(ringwarden_argument(enforcement, &sqe, sizeof sqe, &at, &length, &error));
    CHECK(at == 0x10000 && length == sizeof https);
    SUCCEEDS(ringwarden_judge_argument(enforcement, &sqe, sizeof sqe, &https, sizeof https, &verdict, &error));
    allowed(verdict);
    /* What is behind the request's length does not count. */
    memset(&large, 0xff, sizeof large);
    memcpy(&large, &elsewhere, sizeof elsewhere);
    SUCCEEDS(ringwarden_judge_argument(enforcement, &sqe, sizeof sqe, &large, sizeof large, &verdict, &error));
    refused(verdict, EACCES, "connect", 7, 0);
    SUCCEEDS(ringwarden_judge_argument(enforcement, &sqe, sizeof sqe, &https, sizeof https - 1, &verdict, &error));
    malformed(verdict, EFAULT);
    SUCCEEDS(ringwarden_judge_argument(enforcement, &sqe, sizeof sqe, NULL, 0, &verdict, &error));
    malformed(verdict, EFAULT);

    sqe = request(IORING_OP_WRITE);
    SUCCEEDS(ringwarden_argument(enforcement, &sqe, sizeof sqe, &at, &length, &error));
    CHECK(at == 0 && length == 0);
    SUCCEEDS(ringwarden_judge_argument(enforcement, &sqe, sizeof sqe, NULL, 0, &verdict, &error));
    allowed(verdict);
}

static void large_requests(void)
{
    /* IORING_OP_URING_CMD128 (Linux 6.19) is known to kernels with filters; 128 bytes make such a ring. */
    enum { URING_CMD128 = 64 };
    struct ringwarden_enforcement *enforcement = compiled("version = 1\ndefault = \"allow\"\n", "7.2");
    struct io_uring_sqe sqes[2];
    struct ringwarden_verdict verdict;
    struct ringwarden_error *error;
    memset(sqes, 0, sizeof sqes);
    sqes[0].opcode = URING_CMD128;
    SUCCEEDS(ringwarden_judge(enforcement, sqes, 128, ringwarden_read_self, NULL, &verdict, &error));
    allowed(verdict);
    SUCCEEDS(ringwarden_judge(enforcement, sqes, 64, ringwarden_read_self, NULL, &verdict, &error));
    malformed(verdict, EINVAL);
    FAILS(RINGWARDEN_E_ARGUMENT,
          ringwarden_judge(enforcement, sqes, 63, ringwarden_read_self, NULL, &verdict, &error));
    CHECK(verdict.res == -EACCES && verdict.reason == RINGWARDEN_REFUSED);
    ringwarden_error_free(error);
    ringwarden_enforcement_free(enforcement);
}

static void calls(const struct ringwarden_enforcement *enforcement)
{
    struct io_uring_params params;
    struct ringwarden_verdict verdict;
    struct ringwarden_error *error;
    memset(&params, 0, sizeof params);
    SUCCEEDS(ringwarden_judge_setup(enforcement, 64, &params, &verdict, &error));
    allowed(verdict);
    SUCCEEDS(ringwarden_judge_setup(enforcement, 65, &params, &verdict, &error));
    refused(verdict, EINVAL, "setup.max_entries", 11, 0);
    params.flags = IORING_SETUP_SQPOLL;
    SUCCEEDS(ringwarden_judge_setup(enforcement, 64, &params, &verdict, &error));
    refused(verdict, EPERM, "setup.deny_flags", 10, 0);
    SUCCEEDS(ringwarden_judge_register(enforcement, IORING_REGISTER_PROBE, &verdict, &error));
    allowed(verdict);
    SUCCEEDS(ringwarden_judge_register(enforcement, IORING_REGISTER_PROBE | 1u << 31, &verdict, &error));
    allowed(verdict);
    SUCCEEDS(ringwarden_judge_register(enforcement, IORING_REGISTER_FILES, &verdict, &error));
    refused(verdict, EACCES, "register.default", 13, 0);
    /* IORING_REGISTER_SEND_MSG_RING (Linux 6.13) is a request of MSG_RING. */
    SUCCEEDS(ringwarden_judge_register(enforcement, 31, &verdict, &error));
    refused(verdict, EACCES, "default", 2, 0);
}

static void layers(void)
{
    struct ringwarden_policy *policies[2];
    struct ringwarden_enforcement *enforcement;
    struct ringwarden_error *error;
    struct io_uring_sqe nop = request(IORING_OP_NOP), write = request(IORING_OP_WRITE);
    struct ringwarden_verdict verdict;
    policies[0] = parsed("version = 1\ndefault = \"deny\"\n[ops]\nnop = \"allow\"\n", "first.toml");
    policies[1] = parsed("version = 1\ndefault = \"allow\"\n[ops]\nnop = \"deny\"\n", "second.toml");
    SUCCEEDS(ringwarden_enforcement_new(policies, 2, "7.2", &enforcement, &error));
    ringwarden_policy_free(policies[0]);
    ringwarden_policy_free(policies[1]);
    verdict = judged(enforcement, &nop);
    refused(verdict, EACCES, "nop", 4, 1);
    CHECK(strcmp(verdict.rule.file, "second.toml") == 0);
    refused(judged(enforcement, &write), EACCES, "default", 2, 0);
    ringwarden_enforcement_free(enforcement);
}

/* Many threads with one enforcement, each with requests that are refused by rules and others. */
static void *judge_often(void *enforcement)
{
    int round;
    for (round = 0; round < 200; round++)
        own_requests(enforcement);
    return NULL;
}

static void threads(struct ringwarden_enforcement *enforcement)
{
    pthread_t threads[4];
    size_t thread;
    for (thread = 0; thread < 4; thread++)
        CHECK(pthread_create(&threads[thread], NULL, judge_often, enforcement) == 0);
    for (thread = 0; thread < 4; thread++)
        CHECK(pthread_join(threads[thread], NULL) == 0);
}

int main(void)
{
    struct ringwarden_enforcement *enforcement = compiled(POLICY, "7.2");
    CHECK(strcmp(ringwarden_enforcement_kernel(enforcement), "7.2") == 0);
    threads(enforcement);
    own_requests(enforcement);
    others_requests(enforcement);
    calls(enforcement);
    ringwarden_enforcement_free(enforcement);
    large_requests();
    layers();
    return 0;
}
