/* A journal of what a process does to the files under one directory, in the order in which the kernel was asked.
 *
 * Preloaded (LD_PRELOAD) into a child of the power-cut tests: LPR_JOURNAL names the journal, LPR_JOURNAL_ROOT the
 * directory. Every open, write, truncation, rename, unlink and mkdir there is noted while a lock is held, so that the
 * order of the notes is the order of the deeds; every sync is noted when it begins and when it has returned. Lines that
 * the child writes to its standard output are noted among them: what it says to have happened, had happened by then.
 * tests/faults/power.py makes of it what a disk may hold when the power goes at any moment.
 */
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
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FDS 4096

/* kind, length of what follows, inode, and an offset, a size or the number of a sync. */
struct note { uint32_t kind, length; uint64_t inode, number; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char root[PATH_MAX];
static size_t root_length;
static unsigned char watched[MOST_FDS];
static uint64_t syncs;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("LPR_JOURNAL"), *directory = getenv("LPR_JOURNAL_ROOT");
    if (!path || !directory || !realpath(directory, root)) return;
    root_length = strlen(root);
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })

static void put(uint32_t kind, uint64_t inode, uint64_t number, const void *bytes, size_t length) {
    struct note head = {kind, (uint32_t)length, inode, number};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)bytes, length}};
    if (syscall(SYS_writev, journal, parts, 2) != (long)(sizeof head + length)) abort();
}

static int is_watched(int fd) { return journal >= 0 && fd >= 0 && fd < MOST_FDS && watched[fd]; }

static uint64_t inode_of(int fd) { struct stat s; return fstat(fd, &s) ? 0 : s.st_ino; }

/* The absolute path where it lies under the root (or is the root), else NULL. Its folder must exist. */
static const char *inside(int at, const char *path, char *into) {
    char joined[PATH_MAX * 2], folder[PATH_MAX * 2];
    if (journal < 0 || !path) return NULL;
    if (path[0] == '/') snprintf(joined, sizeof joined, "%s", path);
    else if (at == AT_FDCWD) { char here[PATH_MAX]; if (!getcwd(here, sizeof here)) return NULL; snprintf(joined, sizeof joined, "%s/%s", here, path); }
    else return NULL; /* nobody here uses other folders' descriptors */
    snprintf(folder, sizeof folder, "%s", joined);
    char *slash = strrchr(folder, '/');
    if (!slash || !slash[1]) return NULL;
    const char *name = joined + (slash - folder) + 1;
    *slash = 0;
    char real_folder[PATH_MAX];
    if (!realpath(folder[0] ? folder : "/", real_folder)) return NULL;
    snprintf(into, PATH_MAX * 2, "%s/%s", strcmp(real_folder, "/") ? real_folder : "", name);
    if (strncmp(into, root, root_length) || (into[root_length] && into[root_length] != '/')) return NULL;
    return into;
}

static int opened(int (*really)(int, const char *, int, mode_t), int at, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX * 2];
    if (!inside(at, path, full)) {
        int fd = really(at, path, flags, mode);
        if (fd >= 0 && fd < MOST_FDS) watched[fd] = 0;
        return fd;
    }
    pthread_mutex_lock(&lock);
    int is_new = (flags & O_CREAT) && faccessat(AT_FDCWD, full, F_OK, 0) != 0;
    int fd = really(at, path, flags, mode), error = errno;
    if (fd >= 0 && fd < MOST_FDS) {
        watched[fd] = 1;
        put(is_new ? 'C' : 'O', inode_of(fd), 0, full, strlen(full));
        if (flags & O_TRUNC && !is_new) put('T', inode_of(fd), 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

static int by_openat(int at, const char *path, int flags, mode_t mode) { return (int)syscall(SYS_openat, at, path, flags, mode); }

#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { MODE return opened(by_openat, AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(by_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return opened(by_openat, at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return opened(by_openat, at, path, flags | O_LARGEFILE, mode); }
int __open_2(const char *path, int flags) { return opened(by_openat, AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(by_openat, AT_FDCWD, path, flags | O_LARGEFILE, 0); }
int creat(const char *path, mode_t mode) { return opened(by_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
    if (fd >= 0 && fd < MOST_FDS) watched[fd] = 0;
    return (int)syscall(SYS_close, fd);
}

static ssize_t written(int fd, const void *bytes, size_t length, off_t offset) {
    pthread_mutex_lock(&lock);
    ssize_t done = (ssize_t)syscall(SYS_pwrite64, fd, bytes, length, offset);
    int error = errno;
    if (done > 0) put('W', inode_of(fd), (uint64_t)offset, bytes, (size_t)done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return is_watched(fd) ? written(fd, bytes, length, offset) : (ssize_t)syscall(SYS_pwrite64, fd, bytes, length, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) { return pwrite(fd, bytes, length, offset); }

/* Python's os.pwritev calls the second. No flags are used here: a write that is its own sync would be noted as none. */
static ssize_t gathered(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    if (flags) abort();
    size_t length = 0, at = 0;
    for (int n = 0; n < count; n++) length += parts[n].iov_len;
    char *bytes = malloc(length + 1);
    if (!bytes) abort();
    for (int n = 0; n < count; at += parts[n++].iov_len) memcpy(bytes + at, parts[n].iov_base, parts[n].iov_len);
    ssize_t done = pwrite(fd, bytes, length, offset);
    int error = errno;
    free(bytes);
    errno = error;
    return done;
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return gathered(fd, parts, count, offset, 0); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) { return gathered(fd, parts, count, offset, 0); }
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) { return gathered(fd, parts, count, offset, flags); }
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) { return gathered(fd, parts, count, offset, flags); }

ssize_t write(int fd, const void *bytes, size_t length) {
    if (fd == STDOUT_FILENO && journal >= 0) {
        pthread_mutex_lock(&lock);
        put('M', 0, 0, bytes, length);
        pthread_mutex_unlock(&lock);
    }
    if (!is_watched(fd)) return (ssize_t)syscall(SYS_write, fd, bytes, length);
    off_t offset = lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) ? SEEK_END : SEEK_CUR);
    ssize_t done = written(fd, bytes, length, offset);
    if (done > 0) lseek(fd, offset + done, SEEK_SET);
    return done;
}

int ftruncate(int fd, off_t size) {
    if (!is_watched(fd)) return (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_ftruncate, fd, size), error = errno;
    if (done == 0) put('T', inode_of(fd), (uint64_t)size, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

static int synced(int fd, long call) {
    if (!is_watched(fd)) return (int)syscall(call, fd);
    pthread_mutex_lock(&lock);
    uint64_t number = ++syncs, inode = inode_of(fd);
    put('S', inode, number, "", 0);
    pthread_mutex_unlock(&lock);
    int done = (int)syscall(call, fd), error = errno;
    if (done == 0) {
        pthread_mutex_lock(&lock);
        put('F', inode, number, "", 0);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return done;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int renamed(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char old[PATH_MAX * 2], new[PATH_MAX * 2], both[PATH_MAX * 4];
    const char *a = inside(from_at, from, old), *b = inside(to_at, to, new);
    if (!a || !b) return (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags), error = errno;
    if (done == 0) {
        int length = snprintf(both, sizeof both, "%s\n%s", a, b);
        put('R', 0, 0, both, (size_t)length);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to) { return renamed(from_at, from, to_at, to, 0); }
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) { return renamed(from_at, from, to_at, to, flags); }

static int unlinked(int at, const char *path, int flags) {
    char full[PATH_MAX * 2];
    if (!inside(at, path, full)) return (int)syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_unlinkat, at, path, flags), error = errno;
    if (done == 0) put('U', 0, 0, full, strlen(full));
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int unlink(const char *path) { return unlinked(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return unlinked(at, path, flags); }

static int made(int at, const char *path, mode_t mode) {
    char full[PATH_MAX * 2];
    if (!inside(at, path, full)) return (int)syscall(SYS_mkdirat, at, path, mode);
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_mkdirat, at, path, mode), error = errno;
    if (done == 0) put('D', 0, 0, full, strlen(full));
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int at, const char *path, mode_t mode) { return made(at, path, mode); }
