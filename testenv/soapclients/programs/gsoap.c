/* A SOAP client by gSOAP, around the code that wsdl2h and soapcpp2 made of the WSDL. See soapclients.go for what goes in
 * and out. */
#define _GNU_SOURCE
#include "soapH.h"
#include "OSPlatformAuthenticationSoap.nsmap"

static void put(const char *s)
{
    putchar('"');
    for (; s && *s; s++) {
        if (*s == '"' || *s == '\\')
            printf("\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            printf("\\u%04x", *s);
        else
            putchar(*s);
    }
    putchar('"');
}

static void put_status(struct ns2__PluginAPIStatus *s, long id)
{
    printf("{\"userId\":%ld", id);
    if (s) {
        printf(",\"success\":%s,\"responseId\":%d,\"message\":", s->Success ? "true" : "false", s->ResponseId);
        put(s->ResponseMessage);
        printf(",\"info\":");
        put(s->ResponseAdditionalInfo);
    }
}

static void put_pair(int i, const char *name, const char *value)
{
    printf("%s[", i ? "," : "");
    put(name);
    putchar(',');
    put(value);
    putchar(']');
}

static int call(struct soap *soap, const char *url, char *method, char *a, char *b)
{
    int err = SOAP_OK, i;
    if (!strcmp(method, "Plugin_Test")) {
        struct _ns2__Plugin_USCORETest in = {};
        struct _ns2__Plugin_USCORETestResponse out = {};
        if (!(err = soap_call___ns1__Plugin_USCORETest(soap, url, NULL, &in, &out)))
            put_status(out.Status, 0);
    } else if (!strcmp(method, "Plugin_OnActivation")) {
        struct _ns2__Plugin_USCOREOnActivation in = {};
        struct _ns2__Plugin_USCOREOnActivationResponse out = {};
        if (!(err = soap_call___ns1__Plugin_USCOREOnActivation(soap, url, NULL, &in, &out)))
            put_status(out.Status, 0);
    } else if (!strcmp(method, "Plugin_OnDeactivation")) {
        struct _ns2__Plugin_USCOREOnDeactivation in = {};
        struct _ns2__Plugin_USCOREOnDeactivationResponse out = {};
        if (!(err = soap_call___ns1__Plugin_USCOREOnDeactivation(soap, url, NULL, &in, &out)))
            put_status(NULL, 0);
    } else if (!strcmp(method, "Plugin_SetConfigurations")) {
        struct ns2__PluginAPIConfigurationParameter p = {a, b};
        struct ns2__ArrayOfPluginAPIConfigurationParameter array = {1, &p};
        struct _ns2__Plugin_USCORESetConfigurations in = {&array};
        struct _ns2__Plugin_USCORESetConfigurationsResponse out = {};
        if (!(err = soap_call___ns1__Plugin_USCORESetConfigurations(soap, url, NULL, &in, &out)))
            put_status(out.Status, 0);
    } else if (!strcmp(method, "Plugin_GetCapabilities")) {
        struct _ns2__Plugin_USCOREGetCapabilities in = {};
        struct _ns2__Plugin_USCOREGetCapabilitiesResponse out = {};
        if (!(err = soap_call___ns1__Plugin_USCOREGetCapabilities(soap, url, NULL, &in, &out))) {
            put_status(out.Status, 0);
            printf(",\"pairs\":[");
            for (i = 0; i < out.SupportedCapabilities->__sizeCapability; i++)
                put_pair(i, out.SupportedCapabilities->Capability[i].Name,
                    out.SupportedCapabilities->Capability[i].Value);
            printf("]");
        }
    } else if (!strcmp(method, "Plugin_GetAllConfigurations")) {
        struct _ns2__Plugin_USCOREGetAllConfigurations in = {};
        struct _ns2__Plugin_USCOREGetAllConfigurationsResponse out = {};
        if (!(err = soap_call___ns1__Plugin_USCOREGetAllConfigurations(soap, url, NULL, &in, &out))) {
            put_status(out.Status, 0);
            printf(",\"pairs\":[");
            for (i = 0; i < out.Configuration->__sizePluginAPIConfigurationParameter; i++)
                put_pair(i, out.Configuration->PluginAPIConfigurationParameter[i].Name,
                    out.Configuration->PluginAPIConfigurationParameter[i].Value);
            printf("]");
        }
    } else if (!strcmp(method, "User_AuthenticateWithUsername")) {
        struct _ns2__User_USCOREAuthenticateWithUsername in = {a};
        struct _ns2__User_USCOREAuthenticateWithUsernameResponse out = {};
        if (!(err = soap_call___ns1__User_USCOREAuthenticateWithUsername(soap, url, NULL, &in, &out)))
            put_status(out.Status, out.UserId);
    } else {
        struct _ns2__User_USCOREAuthenticateWithCredentials in = {a, b};
        struct _ns2__User_USCOREAuthenticateWithCredentialsResponse out = {};
        if (!(err = soap_call___ns1__User_USCOREAuthenticateWithCredentials(soap, url, NULL, &in, &out)))
            put_status(out.Status, out.UserId);
    }
    return err;
}

int main(int argc, char **argv)
{
    char line[8192];
    struct soap *soap = soap_new1(SOAP_C_UTFSTRING);
    if (argc != 4)
        return 2;
    while (fgets(line, sizeof line, stdin)) {
        char *rest = line, *method, *a, *b;
        line[strcspn(line, "\n")] = 0;
        method = strsep(&rest, "\t");
        a = strsep(&rest, "\t");
        b = strsep(&rest, "\t");
        soap->userid = argv[2];
        soap->passwd = getenv("SOAP_SECRET");
        if (call(soap, argv[1], method, a, b)) {
            const char *text = soap->fault ? soap_fault_string(soap) : NULL;
            if (!text) {
                soap_print_fault(soap, stderr);
                return 1;
            }
            printf("{\"fault\":");
            put(text);
        }
        printf("}\n");
        fflush(stdout);
        soap_destroy(soap);
        soap_end(soap);
    }
    soap_free(soap);
    return 0;
}
