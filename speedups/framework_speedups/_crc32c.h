/* CRC-32C (Castagnoli), with the CPU's instructions if it has them, else with tables for eight bytes at a time. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint32_t crc32c_tables[8][256];

static void crc32c_fill_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
        crc32c_tables[0][byte] = crc;
    }
    for (int table = 1; table < 8; table++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = crc32c_tables[table - 1][byte];
            crc32c_tables[table][byte] = crc >> 8 ^ crc32c_tables[0][crc & 0xff];
        }
}

static uint32_t crc32c_portable(const uint8_t *at, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (; size >= 8; at += 8, size -= 8)
        crc = crc32c_tables[7][(crc ^ at[0]) & 0xff] ^ crc32c_tables[6][(crc >> 8 ^ at[1]) & 0xff]
            ^ crc32c_tables[5][(crc >> 16 ^ at[2]) & 0xff] ^ crc32c_tables[4][(crc >> 24 ^ at[3]) & 0xff]
            ^ crc32c_tables[3][at[4]] ^ crc32c_tables[2][at[5]] ^ crc32c_tables[1][at[6]] ^ crc32c_tables[0][at[7]];
    for (; size > 0; at++, size--)
        crc = crc >> 8 ^ crc32c_tables[0][(crc ^ *at) & 0xff];
    return ~crc;
}

#if defined(__GNUC__) && defined(__x86_64__)
#include <nmmintrin.h>
#define CRC32C_TARGET __attribute__((target("sse4.2")))
#define CRC32C_EIGHT(crc, word) ((uint32_t)_mm_crc32_u64(crc, word))
#define CRC32C_ONE(crc, byte) _mm_crc32_u8(crc, byte)

static int crc32c_in_hardware(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2");
}

#elif defined(__GNUC__) && defined(__AARCH64EL__) && (defined(__linux__) || defined(__APPLE__))
#include <arm_acle.h>
#define CRC32C_TARGET __attribute__((target("+crc")))
#define CRC32C_EIGHT(crc, word) __crc32cd(crc, word)
#define CRC32C_ONE(crc, byte) __crc32cb(crc, byte)

#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
static int crc32c_in_hardware(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}
#else
static int crc32c_in_hardware(void)
{
    return 1; /* every Apple processor of this kind has them */
}
#endif
#endif

static uint32_t (*crc32c)(const uint8_t *at, size_t size) = crc32c_portable;

#ifdef CRC32C_TARGET
CRC32C_TARGET static uint32_t crc32c_hardware(const uint8_t *at, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        crc = CRC32C_EIGHT(crc, word);
    }
    for (; size > 0; at++, size--)
        crc = CRC32C_ONE(crc, *at);
    return ~crc;
}
#endif

/* To be called once, before the first checksum. */
static void crc32c_choose(void)
{
    crc32c_fill_tables();
#ifdef CRC32C_TARGET
    if (crc32c_in_hardware())
        crc32c = crc32c_hardware;
#endif
}
