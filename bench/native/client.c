/* A closed-loop client: CONNECTIONS connections, each sends its next request when it has the answer.
 *
 * usage: client PORT CONNECTIONS SECONDS json|varied|stream PACE_MS
 *
 * json: all requests are the same. varied: each has another trace in its head.
 *
 * Prints one line of JSON: requests, events of streams, pieces in which they came, errors, answers that were not 200, and the
 * median and 99th percentile of the time a request took, in microseconds.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, READ = 1 << 16, KEEP = 8192 };

struct connection {
    int fd;
    char head[KEEP];
    size_t filled;
    int in_body, chunked;
    long left; /* of a body with a length */
    char tail[8];
    long long began_ns;
};

static int poller, port, stream;
static char request[2048];
static size_t request_length;
static long answers, events, pieces, errors, others;
static char *trace; /* where the trace of a request stands in it, if it changes */
static unsigned *times;
static size_t timed, room;

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void begin(struct connection *connection) {
    connection->filled = 0;
    connection->in_body = 0;
    memset(connection->tail, 0, sizeof connection->tail);
    connection->began_ns = now_ns();
    if (trace) {
        static unsigned long long number;
        char digits[17];
        snprintf(digits, sizeof digits, "%016llx", ++number);
        memcpy(trace, digits, 16);
    }
    if (send(connection->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
        errors++;
}

static void dial(struct connection *connection) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event);
    begin(connection);
}

/* Returns 1 when the answer is whole. Bodies in chunks end with "0\r\n\r\n", as they do here. */
static int body(struct connection *connection, const char *data, size_t length) {
    if (!connection->chunked) {
        connection->left -= (long)length;
        return connection->left <= 0;
    }
    long before = events;
    for (const char *at = data; (at = memmem(at, (size_t)(data + length - at), "data: {", 7)); at++)
        events++;
    pieces += events > before;
    char *tail = connection->tail;
    size_t kept = length < 7 ? length : 7;
    memmove(tail, tail + kept, 7 - kept);
    memcpy(tail + 7 - kept, data + length - kept, kept);
    return !memcmp(tail, "\r\n0\r\n\r\n", 7);
}

static int feed(struct connection *connection, const char *data, size_t length) {
    if (connection->in_body) return body(connection, data, length);
    size_t space = KEEP - 1 - connection->filled;
    size_t taken = length < space ? length : space;
    memcpy(connection->head + connection->filled, data, taken);
    connection->filled += taken;
    connection->head[connection->filled] = 0;
    char *end = strstr(connection->head, "\r\n\r\n");
    if (!end) return 0;
    *end = 0;
    if (atoi(connection->head + 9) != 200) others++;
    char *given = strcasestr(connection->head, "\r\ncontent-length:");
    connection->chunked = given == NULL;
    connection->left = given ? atol(given + 17) : 0;
    connection->in_body = 1;
    size_t head = (size_t)(end + 4 - connection->head);
    size_t used = head - (connection->filled - taken); /* of *data* */
    if (length == used && (connection->chunked || connection->left)) return 0;
    return body(connection, data + used, length - used);
}

static void note(long long took_ns) {
    if (timed == room) times = realloc(times, (room = room ? room * 2 : 1 << 16) * sizeof *times);
    times[timed++] = (unsigned)(took_ns / 1000);
}

static int ascending(const void *left, const void *right) {
    unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
    return a < b ? -1 : a > b;
}

int main(int count, char **given) {
    if (count != 6) {
        fprintf(stderr, "usage: client PORT CONNECTIONS SECONDS json|varied|stream PACE_MS\n");
        return 2;
    }
    port = atoi(given[1]);
    int connections = atoi(given[2]), live = connections;
    stream = !strcmp(given[4], "stream");
    char content[1024];
    int length = snprintf(content, sizeof content,
                          "{\"model\":\"m1\",\"stream\":%s,\"max_tokens\":64,\"messages\":[{\"role\":"
                          "\"user\",\"content\":\"%0220d\"}]}",
                          stream ? "true" : "false", 0);
    request_length = (size_t)snprintf(
        request, sizeof request,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"
        "Content-Type: application/json\r\nX-Pace: %s\r\n"
        "traceparent: 00-%032d-0000000000000001-01\r\nContent-Length: %d\r\n\r\n%s",
        given[5], 0, length, content);
    if (!strcmp(given[4], "varied")) trace = strstr(request, "traceparent: 00-") + 16;
    poller = epoll_create1(0);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    long long start = now_ns(), end = start + (long long)(atof(given[3]) * 1e9);
    for (int index = 0; index < connections; index++) dial(all + index);
    struct epoll_event ready[BATCH];
    static char data[READ];
    while (live && now_ns() < end + 10000000000LL) {
        int found = epoll_wait(poller, ready, BATCH, 500);
        for (int index = 0; index < found; index++) {
            struct connection *connection = ready[index].data.ptr;
            ssize_t got = recv(connection->fd, data, sizeof data, 0);
            if (got <= 0) {
                errors++;
                close(connection->fd);
                live--;
                continue;
            }
            if (!feed(connection, data, (size_t)got)) continue;
            long long now = now_ns();
            answers++;
            note(now - connection->began_ns);
            if (now < end) {
                begin(connection);
            } else {
                close(connection->fd);
                live--;
            }
        }
    }
    qsort(times, timed, sizeof *times, ascending);
    printf("{\"requests\": %ld, \"events\": %ld, \"pieces\": %ld, \"errors\": %ld, \"not_200\": %ld, "
           "\"seconds\": %.3f, \"p50_us\": %u, \"p99_us\": %u}\n",
           answers, events, pieces, errors + live, others, (double)(now_ns() - start) / 1e9,
           timed ? times[timed / 2] : 0, timed ? times[timed * 99 / 100] : 0);
    return 0;
}
