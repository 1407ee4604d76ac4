/* What the compiler makes of the header: a line for each struct, field and number, which a test compares. */
#include <ringwarden.h>
#include <stdio.h>

#define STRUCT(type) printf("struct %s: %u bytes\n", #type, (unsigned)sizeof(struct type))
#define FIELD(type, field)                                                                                            \
    printf("%s.%s: %u bytes at %u\n", #type, #field, (unsigned)sizeof(((struct type *)0)->field),                     \
           (unsigned)offsetof(struct type, field))
#define NUMBER(name) printf("%s: %d\n", #name, (int)name)

int main(void)
{
    STRUCT(ringwarden_rule);
    FIELD(ringwarden_rule, file);
    FIELD(ringwarden_rule, key);
    FIELD(ringwarden_rule, text);
    FIELD(ringwarden_rule, line);
    FIELD(ringwarden_rule, column);
    FIELD(ringwarden_rule, layer);
    FIELD(ringwarden_rule, reserved);
    STRUCT(ringwarden_verdict);
    FIELD(ringwarden_verdict, res);
    FIELD(ringwarden_verdict, reason);
    FIELD(ringwarden_verdict, rule);
    FIELD(ringwarden_verdict, reserved);
    STRUCT(ringwarden_filter);
    FIELD(ringwarden_filter, opcode);
    FIELD(ringwarden_filter, flags);
    FIELD(ringwarden_filter, payload_size);
    FIELD(ringwarden_filter, length);
    FIELD(ringwarden_filter, instructions);
    FIELD(ringwarden_filter, rule);
    FIELD(ringwarden_filter, reserved);
    STRUCT(ringwarden_diagnostic);
    FIELD(ringwarden_diagnostic, id);
    FIELD(ringwarden_diagnostic, file);
    FIELD(ringwarden_diagnostic, message);
    FIELD(ringwarden_diagnostic, help);
    FIELD(ringwarden_diagnostic, line);
    FIELD(ringwarden_diagnostic, column);
    FIELD(ringwarden_diagnostic, reserved);
    NUMBER(RINGWARDEN_OK);
    NUMBER(RINGWARDEN_E_ARGUMENT);
    NUMBER(RINGWARDEN_E_FILE);
    NUMBER(RINGWARDEN_E_POLICY);
    NUMBER(RINGWARDEN_E_KERNEL);
    NUMBER(RINGWARDEN_E_LACKING);
    NUMBER(RINGWARDEN_E_BEYOND);
    NUMBER(RINGWARDEN_E_THREADS);
    NUMBER(RINGWARDEN_E_CONFINE);
    NUMBER(RINGWARDEN_E_INTERNAL);
    NUMBER(RINGWARDEN_ALLOWED);
    NUMBER(RINGWARDEN_REFUSED);
    NUMBER(RINGWARDEN_MALFORMED);
    return 0;
}
