/* What the tests have in common: a test that goes wrong says where, and the program's status is 1. */
#ifndef CHECK_H
#define CHECK_H

/* System calls, and flags that are Linux's own. */
#define _GNU_SOURCE

#include <linux/io_uring.h>
#include <ringwarden.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                           \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

/* That a function succeeds; what it says where it does not. */
#define SUCCEEDS(call)                                                                                                \
    do {                                                                                                              \
        int code_ = (call);                                                                                           \
        if (code_ != RINGWARDEN_OK || error != NULL) {                                                                \
            fprintf(stderr, "%s:%d: %s: %d: %s\n", __FILE__, __LINE__, #call, code_, ringwarden_error_text(error));   \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

/* That it fails so, and tells; without anybody who asks, too. */
#define FAILS(expected, call)                                                                                         \
    do {                                                                                                              \
        CHECK((call) == (expected));                                                                                  \
        CHECK(ringwarden_error_code(error) == (expected));                                                            \
        CHECK(ringwarden_error_text(error)[0] != '\0');                                                               \
    } while (0)

/* The policy of a text. */
static struct ringwarden_policy *parsed(const char *text, const char *file)
{
    struct ringwarden_policy *policy;
    struct ringwarden_error *error;
    SUCCEEDS(ringwarden_policy_from_text(text, strlen(text), file, &policy, &error));
    return policy;
}

/* One policy for a kernel. */
static struct ringwarden_enforcement *compiled(const char *text, const char *kernel)
{
    struct ringwarden_policy *policy = parsed(text, "p.toml");
    struct ringwarden_enforcement *enforcement;
    struct ringwarden_error *error;
    SUCCEEDS(ringwarden_enforcement_new(&policy, 1, kernel, &enforcement, &error));
    ringwarden_policy_free(policy);
    return enforcement;
}

#endif
