/* The lab's own image: what holds a pod's namespaces, and what serves in one, in one static program.
 *
 *   pod                         waits until it is told to end, and reaps who is left behind
 *   pod tcp:6379 udp:7 …        each TCP connection is told the pod's name, each datagram comes back (RFC 862)
 */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 16 };

static void end(int number) {
  (void)number;
  _exit(0);
}

static int listener(const char *what) {
  int tcp = strncmp(what, "tcp:", 4) == 0, one = 1;
  int made = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(what + 4))};
  setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(made, (struct sockaddr *)&here, sizeof here) != 0 || (tcp && listen(made, 128) != 0)) {
    perror(what);
    exit(1);
  }
  return made;
}

static void greet(int at, const char *name) {
  char unread[4096];
  int peer = accept(at, NULL, NULL);
  if (peer < 0) return;
  struct timeval second = {.tv_sec = 1};
  setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
  dprintf(peer, "%s\n", name);
  shutdown(peer, SHUT_WR);
  /* Closing with unread bytes would end the connection by a reset. */
  while (read(peer, unread, sizeof unread) > 0) continue;
  close(peer);
}

static void echo(int at) {
  char data[65535];
  struct sockaddr_in peer;
  socklen_t size = sizeof peer;
  ssize_t length = recvfrom(at, data, sizeof data, 0, (struct sockaddr *)&peer, &size);
  if (length >= 0) sendto(at, data, (size_t)length, 0, (struct sockaddr *)&peer, size);
}

int main(int count, char **what) {
  struct pollfd each[MOST];
  char name[256] = "pod";
  int listeners = count - 1 < MOST ? count - 1 : MOST;
  signal(SIGTERM, end);
  signal(SIGINT, end);
  signal(SIGPIPE, SIG_IGN);
  /* Children of processes that ended come to the first process of a pod: the kernel reaps them itself. */
  signal(SIGCHLD, SIG_IGN);
  gethostname(name, sizeof name - 1);
  for (int i = 0; i < listeners; i++) each[i] = (struct pollfd){.fd = listener(what[i + 1]), .events = POLLIN};
  for (;;) {
    poll(each, (nfds_t)listeners, -1);
    for (int i = 0; i < listeners; i++) {
      if (!(each[i].revents & POLLIN)) continue;
      if (strncmp(what[i + 1], "tcp:", 4) == 0) greet(each[i].fd, name);
      else echo(each[i].fd);
    }
  }
}
