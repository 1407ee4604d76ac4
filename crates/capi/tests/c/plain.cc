// The header in C++, before and without any other.
#include <ringwarden.h>

#include <cstring>

int main()
{
    ringwarden_policy *policy = nullptr;
    ringwarden_enforcement *enforcement = nullptr;
    ringwarden_error *error = nullptr;
    if (ringwarden_policy_from_file("@nothing", &policy, &error) != RINGWARDEN_OK)
        return 1;
    if (ringwarden_enforcement_new(&policy, 1, nullptr, &enforcement, nullptr) != RINGWARDEN_OK)
        return 1;
    unsigned char nop[64] = {};
    ringwarden_verdict verdict;
    int code = ringwarden_judge(enforcement, nop, sizeof nop, ringwarden_read_self, nullptr, &verdict, &error);
    ringwarden_enforcement_free(enforcement);
    ringwarden_policy_free(policy);
    return code == RINGWARDEN_OK && std::strcmp(ringwarden_version(), RINGWARDEN_VERSION) == 0 ? 0 : 1;
}
