/* Makes each of libuv's file calls that go through a ring in the folder that is named, one after the other, and
 * prints how many there were and how many requests the kernel has taken from this process's rings, by its count. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

static uv_loop_t loop;
static uv_fs_t request;
static int calls;

static void done(uv_fs_t *finished) { (void)finished; }

/* Waits for the call that was started; its result. */
static ssize_t wait_for(const char *name, int started) {
    if (started == 0)
        uv_run(&loop, UV_RUN_DEFAULT);
    ssize_t result = started < 0 ? started : request.result;
    uv_fs_req_cleanup(&request);
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", name, uv_strerror((int)result));
        exit(1);
    }
    calls++;
    return result;
}

#define CALL(name, ...) wait_for(#name, uv_fs_##name(&loop, &request, __VA_ARGS__, done))

static unsigned long requests(void) {
    unsigned long sum = 0, head;
    DIR *folder = opendir("/proc/self/fdinfo");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char path[300], line[256];
        snprintf(path, sizeof path, "/proc/self/fdinfo/%s", entry->d_name);
        FILE *info = fopen(path, "r");
        while (info && fgets(line, sizeof line, info))
            if (sscanf(line, "CachedSqHead: %lu", &head) == 1)
                sum += head;
        if (info)
            fclose(info);
    }
    return sum;
}

int main(int argc, char **argv) {
    char text[] = "hello", back[8] = "";
    uv_buf_t two[] = {uv_buf_init(text, 2), uv_buf_init(text + 2, 3)}, one = uv_buf_init(back, sizeof back);
    if (argc != 2 || chdir(argv[1]) || uv_loop_init(&loop) || uv_loop_configure(&loop, UV_LOOP_USE_IO_URING_SQPOLL))
        return 2;
    uv_file file = (uv_file)CALL(open, "a", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CALL(write, file, two, 2, 0);
    CALL(fsync, file);
    CALL(fdatasync, file);
    CALL(ftruncate, file, 4);
    CALL(fstat, file);
    CALL(read, file, &one, 1, 0);
    CALL(close, file);
    CALL(stat, "a");
    CALL(link, "a", "b");
    CALL(symlink, "a", "c", 0);
    CALL(lstat, "c");
    CALL(rename, "b", "d");
    CALL(mkdir, "e", 0755);
    CALL(unlink, "d");
    CALL(unlink, "c");
    CALL(unlink, "a");
    if (strcmp(back, "hell")) {
        fprintf(stderr, "read `%s`\n", back);
        return 1;
    }
    printf("%d %lu\n", calls, requests());
    return rmdir("e") != 0;
}
