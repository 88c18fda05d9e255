/* A small libnvidia-ml.so.1: what it says stands in the file that FAKE_NVML names, read anew with every call.
 *
 * A line is "key value", or "key !code" for an NVML error; what has no line is not supported (3). Keys of the whole are
 * "init" and "count" (both 0 unless said), those of device N are "N.utilisation", "N.memory_total" and so on. Each call of
 * a function whose name tests look for is written to the file of that name with ".calls" behind it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_SUPPORTED 3
typedef struct { unsigned gpu, memory; } rates_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version, sensor; int temperature; } temperature_t;

static int find(const char *key, unsigned long long *value, char *text, size_t size)
{
    char name[64], word[128];
    int found = NOT_SUPPORTED;
    FILE *file = fopen(getenv("FAKE_NVML"), "r");
    if (!file)
        return 999;
    while (found == NOT_SUPPORTED && fscanf(file, "%63s %127s", name, word) == 2) {
        if (strcmp(name, key))
            continue;
        found = word[0] == '!' ? atoi(word + 1) : 0;
        if (value)
            *value = strtoull(word, NULL, 10);
        if (text)
            snprintf(text, size, "%s", word);
    }
    fclose(file);
    return found;
}

static void note(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.calls", getenv("FAKE_NVML"));
    FILE *file = fopen(path, "a");
    if (file) {
        fprintf(file, "%s\n", name);
        fclose(file);
    }
}

static int of(void *device, const char *what, unsigned long long *value, char *text, size_t size)
{
    char key[64];
    snprintf(key, sizeof key, "%" PRIuPTR ".%s", (uintptr_t)device - 1, what);
    return find(key, value, text, size);
}

static int number(void *device, const char *what, unsigned *value)
{
    unsigned long long wide = 0;
    int error = of(device, what, &wide, NULL, 0);
    *value = (unsigned)wide;
    return error;
}

int nvmlInitWithFlags(unsigned flags)
{
    int error = find("init", NULL, NULL, 0);
    note("init");
    return error == NOT_SUPPORTED ? 0 : error;
}

int nvmlShutdown(void)
{
    note("shutdown");
    return 0;
}

const char *nvmlErrorString(int error) { return "an error of a later version"; }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    unsigned long long wide = 0;
    int error = find("count", &wide, NULL, 0);
    *count = (unsigned)wide;
    return error == NOT_SUPPORTED ? 0 : error;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    *device = (void *)(uintptr_t)(index + 1);
    int error = of(*device, "handle", NULL, NULL, 0);
    return error == NOT_SUPPORTED ? 0 : error;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned size) { return of(device, "uuid", NULL, uuid, size); }

int nvmlDeviceGetUtilizationRates(void *device, rates_t *rates)
{
    rates->memory = 0;
    return number(device, "utilisation", &rates->gpu);
}

int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory)
{
    int error = of(device, "memory_total", &memory->total, NULL, 0);
    if (!error)
        error = of(device, "memory_used", &memory->used, NULL, 0);
    memory->free = memory->total - memory->used;
    return error;
}

#ifndef ONLY_NEW_TEMPERATURE
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *value) { return number(device, "temperature", value); }
#endif

int nvmlDeviceGetTemperatureV(void *device, temperature_t *value)
{
    return number(device, "temperature", (unsigned *)&value->temperature);
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *value) { return number(device, "power", value); }

int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *value) { return number(device, "power_limit", value); }

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, void *processes)
{
    note("processes");
    return 999;
}
