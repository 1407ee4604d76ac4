/* Null pointers wherever one can be: an error, and no crash. */
#include "check.h"

#define MISUSED(call)                                                                                                 \
    do {                                                                                                              \
        FAILS(RINGWARDEN_E_ARGUMENT, call);                                                                           \
        ringwarden_error_free(error);                                                                                 \
    } while (0)

int main(void)
{
    static const char text[] = "version = 1\ndefault = \"deny\"\n";
    struct ringwarden_policy *policy, *none = NULL;
    struct ringwarden_enforcement *enforcement = compiled(text, NULL), *other;
    struct ringwarden_error *error, *warnings;
    struct ringwarden_diagnostic diagnostic;
    struct ringwarden_verdict verdict;
    struct ringwarden_filter filter;
    struct io_uring_params params;
    struct io_uring_sqe sqe;
    uint64_t address;
    size_t length;
    unsigned char byte;
    memset(&sqe, 0, sizeof sqe);
    memset(&params, 0, sizeof params);

    MISUSED(ringwarden_policy_from_file(NULL, &policy, &error));
    CHECK(policy == NULL);
    MISUSED(ringwarden_policy_from_file("@nothing", NULL, &error));
    MISUSED(ringwarden_policy_from_text(NULL, 1, NULL, &policy, &error));
    MISUSED(ringwarden_policy_from_text(text, (size_t)-1, NULL, &policy, &error));
    MISUSED(ringwarden_policy_from_text(text, sizeof text - 1, "\xff", &policy, &error));
    MISUSED(ringwarden_policy_from_text(text, sizeof text - 1, NULL, NULL, &error));
    MISUSED(ringwarden_policy_warnings(NULL, &warnings, &error));
    MISUSED(ringwarden_enforcement_new(NULL, 1, NULL, &other, &error));
    CHECK(other == NULL);
    MISUSED(ringwarden_enforcement_new(&none, 1, NULL, &other, &error));
    MISUSED(ringwarden_enforcement_new(&none, 0, NULL, NULL, &error));
    MISUSED(ringwarden_enforcement_new(&none, (size_t)-1, NULL, &other, &error));
    MISUSED(ringwarden_enforcement_warnings(NULL, &warnings, &error));
    MISUSED(ringwarden_enforcement_warnings(enforcement, NULL, &error));
    MISUSED(ringwarden_judge(NULL, &sqe, sizeof sqe, ringwarden_read_self, NULL, &verdict, &error));
    CHECK(verdict.res < 0 && verdict.reason == RINGWARDEN_REFUSED);
    MISUSED(ringwarden_judge(enforcement, NULL, sizeof sqe, ringwarden_read_self, NULL, &verdict, &error));
    MISUSED(ringwarden_judge(enforcement, &sqe, 0, ringwarden_read_self, NULL, &verdict, &error));
    MISUSED(ringwarden_judge(enforcement, &sqe, sizeof sqe, NULL, NULL, &verdict, &error));
    MISUSED(ringwarden_judge(enforcement, &sqe, sizeof sqe, ringwarden_read_self, NULL, NULL, &error));
    MISUSED(ringwarden_argument(NULL, &sqe, sizeof sqe, &address, &length, &error));
    MISUSED(ringwarden_argument(enforcement, &sqe, sizeof sqe, NULL, &length, &error));
    MISUSED(ringwarden_argument(enforcement, &sqe, sizeof sqe, &address, NULL, &error));
    MISUSED(ringwarden_argument(enforcement, NULL, sizeof sqe, &address, &length, &error));
    MISUSED(ringwarden_judge_argument(NULL, &sqe, sizeof sqe, NULL, 0, &verdict, &error));
    MISUSED(ringwarden_judge_argument(enforcement, NULL, sizeof sqe, NULL, 0, &verdict, &error));
    MISUSED(ringwarden_judge_argument(enforcement, &sqe, sizeof sqe, NULL, 1, &verdict, &error));
    MISUSED(ringwarden_judge_argument(enforcement, &sqe, sizeof sqe, NULL, 0, NULL, &error));
    MISUSED(ringwarden_judge_setup(NULL, 1, &params, &verdict, &error));
    MISUSED(ringwarden_judge_setup(enforcement, 1, NULL, &verdict, &error));
    MISUSED(ringwarden_judge_setup(enforcement, 1, &params, NULL, &error));
    MISUSED(ringwarden_judge_register(NULL, 0, &verdict, &error));
    MISUSED(ringwarden_judge_register(enforcement, 0, NULL, &error));
    MISUSED(ringwarden_filter_at(NULL, 0, &filter, &error));
    MISUSED(ringwarden_filter_at(enforcement, 0, NULL, &error));
    MISUSED(ringwarden_confine(NULL, &error));
    CHECK(ringwarden_confine(NULL, NULL) == RINGWARDEN_E_ARGUMENT);
    /* Nobody has tried that kernel here. */
    FAILS(RINGWARDEN_E_KERNEL, ringwarden_confine(enforcement, &error));
    ringwarden_error_free(error);

    CHECK(ringwarden_error_diagnostic(NULL, 0, &diagnostic) == RINGWARDEN_E_ARGUMENT && diagnostic.id == NULL);
    CHECK(ringwarden_error_code(NULL) == 0 && ringwarden_error_errno(NULL) == 0 && ringwarden_error_count(NULL) == 0);
    CHECK(ringwarden_error_text(NULL)[0] == '\0');
    CHECK(ringwarden_policy_name(NULL) == NULL && ringwarden_enforcement_kernel(NULL) == NULL);
    CHECK(ringwarden_filter_count(NULL) == 0);
    CHECK(ringwarden_read_self(NULL, (uintptr_t)text, NULL, 1) != 0);
    CHECK(ringwarden_read_self(NULL, (uintptr_t)text, &byte, 1) == 0 && byte == 'v');
    ringwarden_error_free(NULL);
    ringwarden_policy_free(NULL);
    ringwarden_enforcement_free(NULL);
    ringwarden_enforcement_free(enforcement);
    return 0;
}
