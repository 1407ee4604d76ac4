/* Policies from files and text, what is wrong with them, and layers. */
#include "check.h"

#include <errno.h>

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0 && fclose(file) == 0);
}

static void files(void)
{
    struct ringwarden_policy *policy;
    struct ringwarden_error *error;
    write_file("base.toml", "version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\n");
    write_file("web.toml", "version = 1\nname = \"web\"\nextends = [\"base.toml\"]\ndefault = \"deny\"\n[ops]\nwrite = "
                           "\"allow\"\n");
    SUCCEEDS(ringwarden_policy_from_file("web.toml", &policy, &error));
    CHECK(strcmp(ringwarden_policy_name(policy), "web") == 0);
    ringwarden_policy_free(policy);

    SUCCEEDS(ringwarden_policy_from_file("@nothing", &policy, &error));
    ringwarden_policy_free(policy);

    FAILS(RINGWARDEN_E_FILE, ringwarden_policy_from_file("missing.toml", &policy, &error));
    CHECK(policy == NULL && ringwarden_error_errno(error) == ENOENT && ringwarden_error_count(error) == 0);
    CHECK(strstr(ringwarden_error_text(error), "missing.toml") != NULL);
    ringwarden_error_free(error);
    FAILS(RINGWARDEN_E_FILE, ringwarden_policy_from_file("@missing", &policy, &error));
    CHECK(ringwarden_error_errno(error) == 0);
    ringwarden_error_free(error);
    CHECK(ringwarden_policy_from_file("missing.toml", &policy, NULL) == RINGWARDEN_E_FILE);
}

static void mistakes(void)
{
    static const char text[] = "version = 1\ndefault = \"deny\"\n[ops]\nraed = \"allow\"\nsocket = \"family == \"\n";
    struct ringwarden_policy *policy;
    struct ringwarden_error *error;
    struct ringwarden_diagnostic diagnostic;
    FAILS(RINGWARDEN_E_POLICY, ringwarden_policy_from_text(text, strlen(text), "mine.toml", &policy, &error));
    CHECK(policy == NULL && ringwarden_error_errno(error) == 0 && ringwarden_error_count(error) == 2);
    CHECK(ringwarden_error_diagnostic(error, 0, &diagnostic) == RINGWARDEN_OK);
    CHECK(strcmp(diagnostic.id, "P007") == 0 && strcmp(diagnostic.file, "mine.toml") == 0);
    CHECK(diagnostic.line == 4 && diagnostic.column == 1);
    CHECK(strstr(diagnostic.message, "raed") != NULL && strstr(diagnostic.help, "read") != NULL);
    CHECK(strstr(ringwarden_error_text(error), diagnostic.message) != NULL);
    CHECK(ringwarden_error_diagnostic(error, 1, &diagnostic) == RINGWARDEN_OK && diagnostic.line == 5);
    CHECK(ringwarden_error_diagnostic(error, 2, &diagnostic) == RINGWARDEN_E_ARGUMENT && diagnostic.id == NULL);
    ringwarden_error_free(error);

    FAILS(RINGWARDEN_E_FILE, ringwarden_policy_from_text("\xff", 1, NULL, &policy, &error));
    ringwarden_error_free(error);
    /* A NUL is a character like others, and a mistake. */
    FAILS(RINGWARDEN_E_POLICY, ringwarden_policy_from_text("a\0b", 3, NULL, &policy, &error));
    CHECK(ringwarden_error_diagnostic(error, 0, &diagnostic) == RINGWARDEN_OK);
    CHECK(strcmp(diagnostic.file, "policy") == 0);
    ringwarden_error_free(error);
    FAILS(RINGWARDEN_E_POLICY, ringwarden_policy_from_text(NULL, 0, NULL, &policy, &error));
    ringwarden_error_free(error);
}

static void warnings(void)
{
    struct ringwarden_policy *policy = parsed("version = 1\ndefault = \"allow\"\n[ops]\nopenat = \"deny\"\n", "w.toml");
    struct ringwarden_error *warnings, *error;
    struct ringwarden_diagnostic diagnostic;
    CHECK(ringwarden_policy_name(policy) == NULL);
    SUCCEEDS(ringwarden_policy_warnings(policy, &warnings, &error));
    CHECK(warnings != NULL && ringwarden_error_code(warnings) == RINGWARDEN_OK);
    CHECK(ringwarden_error_count(warnings) >= 1);
    CHECK(ringwarden_error_diagnostic(warnings, 0, &diagnostic) == RINGWARDEN_OK);
    CHECK(diagnostic.id[0] == 'P' && diagnostic.id[1] == '4');
    ringwarden_error_free(warnings);
    ringwarden_policy_free(policy);

    policy = parsed("version = 1\ndefault = \"deny\"\n", "w.toml");
    SUCCEEDS(ringwarden_policy_warnings(policy, &warnings, &error));
    CHECK(warnings == NULL);
    ringwarden_policy_free(policy);
}

static void kernels(void)
{
    struct ringwarden_policy *policies[2];
    struct ringwarden_enforcement *enforcement;
    struct ringwarden_error *error, *warnings;
    struct ringwarden_diagnostic diagnostic;
    char newest[16];
    policies[0] = parsed("version = 1\ndefault = \"deny\"\n[ops]\nnop = \"allow\"\n", "a.toml");
    policies[1] = parsed("version = 1\ndefault = \"allow\"\n[ops]\nconnect = \"port == 443\"\n", "b.toml");
    SUCCEEDS(ringwarden_enforcement_new(policies, 2, NULL, &enforcement, &error));
    snprintf(newest, sizeof newest, "%s", ringwarden_enforcement_kernel(enforcement));
    CHECK(strcmp(newest, "7.2") > 0);
    SUCCEEDS(ringwarden_enforcement_warnings(enforcement, &warnings, &error));
    CHECK(warnings == NULL);
    ringwarden_enforcement_free(enforcement);
    SUCCEEDS(ringwarden_enforcement_new(policies, 2, newest, &enforcement, &error));
    CHECK(strcmp(ringwarden_enforcement_kernel(enforcement), newest) == 0);
    ringwarden_enforcement_free(enforcement);
    /* No filter sees an address there. */
    FAILS(RINGWARDEN_E_POLICY, ringwarden_enforcement_new(policies, 2, "7.0", &enforcement, &error));
    CHECK(enforcement == NULL && ringwarden_error_diagnostic(error, 0, &diagnostic) == RINGWARDEN_OK);
    CHECK(strcmp(diagnostic.id, "P301") == 0 && strcmp(diagnostic.file, "b.toml") == 0 && diagnostic.line == 4);
    ringwarden_error_free(error);
    FAILS(RINGWARDEN_E_KERNEL, ringwarden_enforcement_new(policies, 2, "6.18", &enforcement, &error));
    CHECK(strstr(ringwarden_error_text(error), "7.2") != NULL);
    ringwarden_error_free(error);
    FAILS(RINGWARDEN_E_ARGUMENT, ringwarden_enforcement_new(policies, 0, NULL, &enforcement, &error));
    ringwarden_error_free(error);
    ringwarden_policy_free(policies[0]);
    ringwarden_policy_free(policies[1]);

    enforcement = compiled("version = 1\ndefault = \"deny\"\n[ops]\nbind = \"port == 80\"\n", NULL);
    CHECK(strcmp(ringwarden_enforcement_kernel(enforcement), "guard") == 0);
    ringwarden_enforcement_free(enforcement);
}

int main(void)
{
    int code;
    CHECK(strcmp(ringwarden_version(), RINGWARDEN_VERSION) == 0);
    for (code = RINGWARDEN_E_INTERNAL; code <= RINGWARDEN_OK; code++)
        CHECK(strcmp(ringwarden_code_text(code), ringwarden_code_text(1)) != 0);
    files();
    mistakes();
    warnings();
    kernels();
    return 0;
}
