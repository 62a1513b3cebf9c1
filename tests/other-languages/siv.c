/* Lines of key, time and payload in hexadecimal in, V | C of each out: cc siv.c -lgcrypt */
#include <gcrypt.h>
#include <stdio.h>
#include <string.h>

static unsigned char key[64], time8[8], text[20000], tag[16];
static char line[60000];

static size_t hex(const char *from, unsigned char *to)
{
    size_t n = 0;
    for (unsigned byte; sscanf(from + 2 * n, "%2x", &byte) == 1; n++)
        to[n] = byte;
    return n;
}

int main(void)
{
    gcry_check_version(NULL);
    while (fgets(line, sizeof line, stdin)) {
        gcry_cipher_hd_t siv;
        char *second = strchr(line, ' ') + 1, *third = strchr(second, ' ') + 1;
        second[-1] = third[-1] = '\0';
        third[strcspn(third, "\n")] = '\0';
        hex(line, key);
        memcpy(key + 32, key, 32);
        hex(second, time8);
        size_t n = hex(third, text);
        if (gcry_cipher_open(&siv, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_SIV, 0) || gcry_cipher_setkey(siv, key, 64)
            || gcry_cipher_authenticate(siv, time8, 8) || gcry_cipher_final(siv)
            || gcry_cipher_encrypt(siv, text, n, NULL, 0) || gcry_cipher_gettag(siv, tag, 16))
            printf("failed");
        gcry_cipher_close(siv);
        for (int i = 0; i < 16; i++) printf("%02x", tag[i]);
        for (size_t i = 0; i < n; i++) printf("%02x", text[i]);
        printf("\n");
    }
}
