/* An OpenAI server that costs as little as possible, to stand behind a gateway that is measured.
 *
 * usage: upstream PORT...
 *
 * One thread, epoll. A POST whose body has `"stream":true` gets 64 events of about 200 bytes, each
 * written by itself, PACE milliseconds apart (header `X-Pace`, default 0); any other request a JSON
 * answer of about 500 bytes. Requests need a Content-Length, as a gateway sends it.
 */
#define _GNU_SOURCE
#include <errno.h>
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

enum { EVENTS = 64, INPUT = 1 << 16, BATCH = 256 };

struct connection {
    int fd;
    int listening;
    char *input;
    size_t filled;
    int events_left; /* of the stream that is being sent; 0: none */
    long pace_ms;
    long long due_ns;
    struct connection *next; /* in the list of those that stream */
};

static int poller;
static struct connection *streaming;
static char whole[1024];
static size_t whole_length;

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int send_all(int fd, const char *data, size_t length) {
    while (length) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            usleep(50);
            continue;
        }
        if (sent <= 0) return -1;
        data += sent;
        length -= (size_t)sent;
    }
    return 0;
}

static void watch(int fd, struct connection *connection) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void drop(struct connection *connection) {
    for (struct connection **at = &streaming; *at; at = &(*at)->next)
        if (*at == connection) {
            *at = connection->next;
            break;
        }
    close(connection->fd);
    free(connection->input);
    free(connection);
}

/* Sends what is due. Returns 1 when the stream is over, -1 when the client is gone. */
static int send_event(struct connection *connection) {
    char event[400], chunk[500];
    int length = snprintf(event, sizeof event,
                          "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
                          "\"model\":\"m1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
                          "\"%019lld\"},\"finish_reason\":null}],\"padding\":\"%050d\"}\n\n",
                          now_ns(), 0);
    int framed = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", (unsigned)length, event);
    if (send_all(connection->fd, chunk, (size_t)framed)) return -1;
    if (--connection->events_left) return 0;
    static const char end[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    return send_all(connection->fd, end, sizeof end - 1) ? -1 : 1;
}

static int begin_stream(struct connection *connection, long pace_ms) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    if (send_all(connection->fd, head, sizeof head - 1)) return -1;
    connection->events_left = EVENTS;
    connection->pace_ms = pace_ms;
    if (pace_ms) {
        connection->due_ns = now_ns();
        connection->next = streaming;
        streaming = connection;
        return 0;
    }
    int state = 0;
    while (state == 0) state = send_event(connection);
    return state < 0 ? -1 : 0;
}

static long header(const char *head, const char *end, const char *name) {
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, length) && line[2 + length] == ':')
            return atol(line + 3 + length);
    return 0;
}

/* Answers one request if it is there. Returns its length, 0 if it is not, -1 when to close. */
static long answer(struct connection *connection) {
    connection->input[connection->filled] = 0;
    char *end = strstr(connection->input, "\r\n\r\n");
    if (!end) return 0;
    size_t head = (size_t)(end - connection->input) + 4;
    size_t body = (size_t)header(connection->input, end, "Content-Length");
    if (connection->filled < head + body) return 0;
    long pace = header(connection->input, end, "X-Pace");
    int stream = memmem(connection->input + head, body, "\"stream\":true", 13) != NULL;
    int failed = stream ? begin_stream(connection, pace)
                        : send_all(connection->fd, whole, whole_length);
    return failed ? -1 : (long)(head + body);
}

static void readable(struct connection *connection) {
    ssize_t got = recv(connection->fd, connection->input + connection->filled,
                       INPUT - connection->filled, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        drop(connection);
        return;
    }
    connection->filled += (size_t)got;
    while (connection->filled && !connection->events_left) {
        long used = answer(connection);
        if (used < 0) {
            drop(connection);
            return;
        }
        if (!used) return;
        connection->filled -= (size_t)used;
        memmove(connection->input, connection->input + used, connection->filled);
    }
}

static void accept_all(int listening) {
    int fd, on = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = calloc(1, sizeof *connection);
        connection->fd = fd;
        connection->input = malloc(INPUT + 1);
        watch(fd, connection);
    }
}

static void send_due(void) {
    long long now = now_ns();
    for (struct connection **at = &streaming; *at;) {
        struct connection *connection = *at;
        if (connection->due_ns > now) {
            at = &connection->next;
            continue;
        }
        connection->due_ns += connection->pace_ms * 1000000LL;
        if (send_event(connection)) { /* over, or the client is gone: then recv says so */
            connection->events_left = 0;
            *at = connection->next;
        } else {
            at = &connection->next;
        }
    }
}

static void listen_on(int port) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1024)) die("listen");
    struct connection *connection = calloc(1, sizeof *connection);
    connection->fd = fd;
    connection->listening = 1;
    watch(fd, connection);
}

int main(int count, char **ports) {
    char body[600];
    int length = snprintf(body, sizeof body,
                          "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"model\":\"m1\","
                          "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                          "\"content\":\"%0250d\"},\"finish_reason\":\"stop\"}],\"usage\":{"
                          "\"prompt_tokens\":10,\"completion_tokens\":64,\"total_tokens\":74}}",
                          0);
    whole_length = (size_t)snprintf(whole, sizeof whole,
                                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                    "Content-Length: %d\r\n\r\n%s",
                                    length, body);
    poller = epoll_create1(0);
    for (int index = 1; index < count; index++) listen_on(atoi(ports[index]));
    struct epoll_event events[BATCH];
    for (;;) {
        int ready = epoll_wait(poller, events, BATCH, streaming ? 1 : -1);
        for (int index = 0; index < ready; index++) {
            struct connection *connection = events[index].data.ptr;
            if (connection->listening)
                accept_all(connection->fd);
            else
                readable(connection);
        }
        if (streaming) send_due();
    }
}
