// Command goservice is a small HTTP service made of the standard library
// alone. It answers quickly, slowly, in pieces, halfway or not at all, as it
// is asked to, and remembers what it saw: an upstream to try a proxy against.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address`: host:port (port 0 picks one) or unix:/path")
	idle := flag.Duration("idle-timeout", 0, "close a keep-alive connection idle for this long (0 = never)")
	grace := flag.Duration("shutdown-timeout", 5*time.Second, "wait this long for requests in flight after SIGTERM")
	flag.Parse()

	if err := run(*listen, *idle, *grace); err != nil {
		log.Fatal(err)
	}
}

// run serves until SIGTERM or SIGINT, then finishes what is in flight.
func run(listen string, idle, grace time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	listener, err := openListener(listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           newHandler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       idle,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Printf("listening on %s\n", describe(listener))

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		stop() // a second signal ends the process at once
	}
	return shutDown(server, grace)
}

func shutDown(server *http.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}

// openListener opens a TCP listener, or a Unix one for "unix:/path".
func openListener(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		return net.Listen("tcp", address)
	}
	// A process that was killed leaves its socket file behind; Listen would
	// then fail. Only a socket is removed, never another kind of file.
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return net.Listen("unix", path)
}

func describe(listener net.Listener) string {
	if listener.Addr().Network() == "unix" {
		return "unix:" + listener.Addr().String()
	}
	return listener.Addr().String()
}
