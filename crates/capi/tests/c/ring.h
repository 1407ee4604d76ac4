/* A ring of one request, by system calls alone. */
#ifndef RING_H
#define RING_H

#include "check.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
    int fd;
    unsigned char *queues;
    struct io_uring_sqe *sqe;
    struct io_uring_params params;
};

/* Makes one; -1 and errno where there is none. */
static int ring_make(struct ring *ring)
{
    size_t size;
    memset(&ring->params, 0, sizeof ring->params);
    ring->fd = (int)syscall(__NR_io_uring_setup, 1, &ring->params);
    if (ring->fd < 0)
        return -1;
    CHECK(ring->params.features & IORING_FEAT_SINGLE_MMAP);
    size = ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe);
    ring->queues = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
    ring->sqe = mmap(NULL, ring->params.sq_entries * sizeof *ring->sqe, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
    CHECK(ring->queues != MAP_FAILED && ring->sqe != MAP_FAILED);
    return 0;
}

/* Submits a request, waits, and gives its result. */
static int ring_do(struct ring *ring, struct io_uring_sqe sqe)
{
    unsigned *tail = (unsigned *)(void *)(ring->queues + ring->params.sq_off.tail);
    unsigned *array = (unsigned *)(void *)(ring->queues + ring->params.sq_off.array);
    unsigned *head = (unsigned *)(void *)(ring->queues + ring->params.cq_off.head);
    unsigned *mask = (unsigned *)(void *)(ring->queues + ring->params.cq_off.ring_mask);
    struct io_uring_cqe *cqes = (struct io_uring_cqe *)(void *)(ring->queues + ring->params.cq_off.cqes);
    int res;
    ring->sqe[0] = sqe;
    array[0] = 0;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    CHECK(syscall(__NR_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    res = cqes[*head & *mask].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return res;
}

#endif
