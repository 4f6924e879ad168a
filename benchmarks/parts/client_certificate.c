/* Preloaded into wrk, this gives its TLS context the client certificate and key named by CERT and KEY, since wrk itself
 * has no option for one:  cc -O2 -shared -fPIC -o client_certificate.so client_certificate.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef void *(*make_context)(const void *);
typedef int (*use_chain)(void *, const char *);
typedef int (*use_key)(void *, const char *, int);

static void *in_libssl(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        void *library = dlopen("libssl.so.3", RTLD_NOW | RTLD_GLOBAL);
        if (library != NULL) found = dlsym(library, name);
    }
    if (found == NULL) {
        fprintf(stderr, "client_certificate: libssl has no %s\n", name);
        exit(2);
    }
    return found;
}

void *SSL_CTX_new(const void *method) {
    void *context = ((make_context)in_libssl("SSL_CTX_new"))(method);
    const char *certificate = getenv("CERT"), *key = getenv("KEY");
    if (context == NULL || certificate == NULL || key == NULL) return context;
    if (((use_chain)in_libssl("SSL_CTX_use_certificate_chain_file"))(context, certificate) != 1 ||
        ((use_key)in_libssl("SSL_CTX_use_PrivateKey_file"))(context, key, 1) != 1) {
        fprintf(stderr, "client_certificate: can't use %s and %s\n", certificate, key);
        exit(2);
    }
    return context;
}
