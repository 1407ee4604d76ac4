/* Makes a seccomp filter of rules, with libseccomp, and prints its instructions.
 *
 * Numbers on standard input: the default action; then for each rule its action, the system call, how
 * many conditions there are, and of each the argument, the operator and two values. Declared here is
 * what libseccomp's header declares, so that no more than the library is needed. */
#include <stdint.h>
#include <stdio.h>

struct scmp_arg_cmp {
    unsigned int arg;
    int op;
    uint64_t datum_a, datum_b;
};
void *seccomp_init(uint32_t default_action);
int seccomp_rule_add_array(void *filter, uint32_t action, int call, unsigned int count,
                           const struct scmp_arg_cmp *conditions);
int seccomp_export_bpf(void *filter, int fd);

int main(void) {
    uint32_t action;
    int call;
    unsigned int count;
    if (scanf("%u", &action) != 1) return 2;
    void *filter = seccomp_init(action);
    if (!filter) return 2;
    while (scanf("%u %d %u", &action, &call, &count) == 3) {
        struct scmp_arg_cmp conditions[6];
        if (count > 6) return 2;
        for (unsigned int i = 0; i < count; i++) {
            struct scmp_arg_cmp *c = &conditions[i];
            if (scanf("%u %d %lu %lu", &c->arg, &c->op, &c->datum_a, &c->datum_b) != 4) return 2;
        }
        /* Rules that contradict each other to the letter are refused. */
        if (seccomp_rule_add_array(filter, action, call, count, conditions)) return 1;
    }
    return seccomp_export_bpf(filter, 1) ? 2 : 0;
}
