/* Stands before the C library: writes down what a process does to the files below $DISK_ROOT, and has calls fail.

   A record of the log is five numbers (kind, file, position, size, failed), then `size` bytes: what was written, or names.
   Files are numbered as they are opened; a number says which opening, and its record of kind 'o' has the path.
   disk_arm(kind, nth, how) has the nth call of a kind from then on fail: how is an errno, or 0 for a short write.
   With $DISK_MOUNTS, /proc/self/mountinfo is that file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST 4096
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static int64_t numbers[MOST], opened;
static char fail_kind;
static long fail_nth;
static int fail_how;

static const char *root(void) {
    const char *found = getenv("DISK_ROOT");
    return found && *found ? found : NULL;
}

static int inside(const char *path) {
    const char *folder = root();
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static void note(char kind, int64_t file, int64_t at, const void *data, int64_t size, int64_t failed) {
    int64_t head[5] = {kind, file, at, size, failed};
    if (log_fd < 0) {
        const char *path = getenv("DISK_LOG");
        if (!path) return;
        log_fd = NEXT(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) return;
    }
    __typeof__(&write) put = NEXT(write);
    if (put(log_fd, head, sizeof head) != sizeof head) abort();
    for (int64_t done = 0; done < size;) {
        ssize_t now = put(log_fd, (const char *)data + done, size - done);
        if (now < 0) abort();
        done += now;
    }
}

void disk_arm(char kind, long nth, int how) {
    fail_kind = kind;
    fail_nth = nth;
    fail_how = how;
}

/* Is it this call's turn to fail? */
static int turn(char kind) { return fail_kind == kind && --fail_nth == 0; }

static int64_t number(int fd) { return fd >= 0 && fd < MOST ? numbers[fd] : 0; }

static int taken(int fd, const char *path, int flags) {
    if (fd < 0 || fd >= MOST) return fd;
    char whole[PATH_MAX];
    pthread_mutex_lock(&lock);
    numbers[fd] = 0;
    if (root() && realpath(path, whole) && inside(whole)) {
        numbers[fd] = ++opened;
        note('o', opened, flags & O_TRUNC ? 1 : 0, whole, strlen(whole), 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static const char *instead(const char *path) {
    const char *mounts = getenv("DISK_MOUNTS");
    return mounts && strcmp(path, "/proc/self/mountinfo") == 0 ? mounts : path;
}

#define OPENING(name)                                                                                                  \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;                                      \
        va_end(more);                                                                                                  \
        return taken(NEXT(name)(instead(path), flags, mode), path, flags);                                             \
    }
OPENING(open)
OPENING(open64)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < MOST) numbers[fd] = 0;
    pthread_mutex_unlock(&lock);
    return NEXT(close)(fd);
}

/* `at` is -1 for what goes to where the file stands. */
static ssize_t put(int fd, const void *data, size_t size, off_t at) {
    __typeof__(&write) plain = NEXT(write);
    __typeof__(&pwrite) placed = NEXT(pwrite);
    if (!number(fd)) return at < 0 ? plain(fd, data, size) : placed(fd, data, size, at);
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    int64_t file = number(fd);
    off_t place = at;
    if (at < 0) place = NEXT(fcntl)(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    if (turn('w')) {
        if (fail_how) {
            note('w', file, place, NULL, 0, fail_how);
            pthread_mutex_unlock(&lock);
            errno = fail_how;
            return -1;
        }
        size = size > 1 ? size / 2 : size;
    }
    done = at < 0 ? plain(fd, data, size) : placed(fd, data, size, at);
    if (done >= 0) note('w', file, place, data, done, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t write(int fd, const void *data, size_t size) { return put(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return put(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return put(fd, data, size, at); }

static int sized(int fd, off_t size) {
    int done = NEXT(ftruncate)(fd, size);
    pthread_mutex_lock(&lock);
    if (done == 0 && number(fd)) note('t', number(fd), size, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate(int fd, off_t size) { return sized(fd, size); }
int ftruncate64(int fd, off64_t size) { return sized(fd, size); }

static int synced(int fd, int (*sync)(int)) {
    if (!number(fd)) return sync(fd);
    pthread_mutex_lock(&lock);
    int how = turn('s') ? fail_how : 0;
    if (!how && sync(fd)) how = errno;
    note('s', number(fd), 0, NULL, 0, how);
    pthread_mutex_unlock(&lock);
    errno = how;
    return how ? -1 : 0;
}
int fsync(int fd) { return synced(fd, NEXT(fsync)); }
int fdatasync(int fd) { return synced(fd, NEXT(fdatasync)); }

/* Names that are made and unmade: 'm' a folder, 'r' from one to another, 'u' gone. */
static int named(int done, char kind, const char *path, const char *to) {
    if (done == 0 && (inside(path) || inside(to))) {
        char both[2 * PATH_MAX];
        int size = snprintf(both, sizeof both, "%s%c%s", path, 0, to ? to : "");
        pthread_mutex_lock(&lock);
        note(kind, 0, 0, both, size, 0);
        pthread_mutex_unlock(&lock);
    }
    return done;
}
int mkdir(const char *path, mode_t mode) { return named(NEXT(mkdir)(path, mode), 'm', path, NULL); }
int rename(const char *path, const char *to) { return named(NEXT(rename)(path, to), 'r', path, to); }
int unlink(const char *path) { return named(NEXT(unlink)(path), 'u', path, NULL); }
