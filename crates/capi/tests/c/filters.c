/* The programs: what they are, and that run as classic BPF they say what the verdicts do. */
#include "check.h"

#include <linux/filter.h>

/* struct io_uring_bpf_ctx of a SOCKET, in words: user_data, opcode and flags, then family, type, protocol. */
static void socket_context(uint32_t words[10], uint32_t family)
{
    unsigned char *bytes = (unsigned char *)words;
    memset(words, 0, 10 * sizeof *words);
    bytes[8] = IORING_OP_SOCKET;
    bytes[10] = 12;
    words[4] = family;
    words[5] = 1;
}

/* Of classic BPF what such a program needs: loads of words, masks, comparisons, constants. */
static uint32_t run(const struct ringwarden_filter *filter, const uint32_t words[10])
{
    uint32_t a = 0, at = 0;
    for (;;) {
        const struct sock_filter *one = &filter->instructions[at++];
        CHECK(at <= filter->length);
        switch (one->code) {
        case BPF_LD | BPF_W | BPF_ABS: CHECK(one->k < 40); a = words[one->k / 4]; break;
        case BPF_ALU | BPF_AND | BPF_K: a &= one->k; break;
        case BPF_JMP | BPF_JA: at += one->k; break;
        case BPF_JMP | BPF_JEQ | BPF_K: at += a == one->k ? one->jt : one->jf; break;
        case BPF_JMP | BPF_JGT | BPF_K: at += a > one->k ? one->jt : one->jf; break;
        case BPF_JMP | BPF_JGE | BPF_K: at += a >= one->k ? one->jt : one->jf; break;
        case BPF_JMP | BPF_JSET | BPF_K: at += a & one->k ? one->jt : one->jf; break;
        case BPF_RET | BPF_K: return one->k;
        default: fprintf(stderr, "code %#x\n", one->code); exit(1);
        }
    }
}

int main(void)
{
    enum { DENY_REST = 1, SZ_STRICT = 2 };
    struct ringwarden_enforcement *enforcement =
        compiled("version = 1\ndefault = \"deny\"\n[ops]\nnop = \"allow\"\nsocket = \"family == AF_UNIX\"\n", "7.2");
    struct ringwarden_filter filter;
    struct ringwarden_error *error;
    size_t index, count = ringwarden_filter_count(enforcement);
    int seen = 0;
    CHECK(count == 2);
    for (index = 0; index < count; index++) {
        uint32_t words[10];
        SUCCEEDS(ringwarden_filter_at(enforcement, index, &filter, &error));
        CHECK(filter.length >= 1 && filter.instructions != NULL && filter.rule.layer == 0);
        CHECK(((filter.flags & DENY_REST) != 0) == (index == count - 1));
        if (filter.opcode == IORING_OP_NOP) {
            CHECK(filter.payload_size == 0 && filter.rule.line == 4 && filter.length == 1);
            CHECK(filter.instructions[0].code == (BPF_RET | BPF_K) && filter.instructions[0].k == 1);
            continue;
        }
        CHECK(filter.opcode == IORING_OP_SOCKET && filter.payload_size == 12 && (filter.flags & SZ_STRICT) != 0);
        CHECK(strcmp(filter.rule.key, "socket") == 0 && filter.rule.line == 5);
        socket_context(words, 1);
        CHECK(run(&filter, words) == 1);
        socket_context(words, 2);
        CHECK(run(&filter, words) == 0);
        seen++;
    }
    CHECK(seen == 1);
    FAILS(RINGWARDEN_E_ARGUMENT, ringwarden_filter_at(enforcement, count, &filter, &error));
    CHECK(filter.instructions == NULL && filter.length == 0);
    ringwarden_error_free(error);
    ringwarden_enforcement_free(enforcement);

    enforcement = compiled("version = 1\ndefault = \"allow\"\n", NULL);
    CHECK(ringwarden_filter_count(enforcement) == 0);
    ringwarden_enforcement_free(enforcement);
    return 0;
}
