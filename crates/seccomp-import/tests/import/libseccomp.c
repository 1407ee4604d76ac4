/* Makes a seccomp filter of rules, with libseccomp, and prints its instructions.
 *
 * Numbers on standard input: the default action; then for each rule its action, the system call or its name,
 * how many conditions there are, and of each the argument, the operator and two values. Arguments are
 * architectures, beside the machine's own. Declared here is what libseccomp's header declares, so that no
 * more than the library is needed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct scmp_arg_cmp {
    unsigned int arg;
    int op;
    uint64_t datum_a, datum_b;
};
void *seccomp_init(uint32_t default_action);
int seccomp_rule_add_array(void *filter, uint32_t action, int call, unsigned int count,
                           const struct scmp_arg_cmp *conditions);
int seccomp_export_bpf(void *filter, int fd);
int seccomp_syscall_resolve_name(const char *name);
uint32_t seccomp_arch_resolve_name(const char *name);
int seccomp_arch_add(void *filter, uint32_t architecture);

/* What libseccomp calls a name that it does not know. */
enum { UNKNOWN = -1 };

int main(int argc, char **argv) {
    uint32_t action;
    char name[64];
    unsigned int count;
    if (scanf("%u", &action) != 1) return 2;
    void *filter = seccomp_init(action);
    if (!filter) return 2;
    for (int i = 1; i < argc; i++)
        if (seccomp_arch_add(filter, seccomp_arch_resolve_name(argv[i]))) return 2;
    while (scanf("%u %63s %u", &action, name, &count) == 3) {
        struct scmp_arg_cmp conditions[6];
        if (count > 6) return 2;
        for (unsigned int i = 0; i < count; i++) {
            struct scmp_arg_cmp *c = &conditions[i];
            if (scanf("%u %d %lu %lu", &c->arg, &c->op, &c->datum_a, &c->datum_b) != 4) return 2;
        }
        int is_number = name[0] >= '0' && name[0] <= '9';
        int call = is_number ? atoi(name) : seccomp_syscall_resolve_name(name);
        /* As runtimes do. */
        if (call == UNKNOWN) continue;
        /* Rules that contradict each other to the letter are refused. */
        if (seccomp_rule_add_array(filter, action, call, count, conditions)) return 1;
    }
    return seccomp_export_bpf(filter, 1) ? 2 : 0;
}
