package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// takeOver answers 101 with the given headers and hands out the connection.
// When ok is false it has answered, or the connection is gone.
func takeOver(w http.ResponseWriter, protocol, headers string) (net.Conn, *bufio.ReadWriter, bool) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusHTTPVersionNotSupported)
		return nil, nil, false
	}
	fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\n", protocol, headers)
	if err := buffered.Flush(); err != nil {
		conn.Close()
		return nil, nil, false
	}
	return conn, buffered, true
}

// rawUpgrade speaks the protocol "echo": every byte comes back, and the end
// of the client's bytes is answered by the end of ours.
func rawUpgrade(w http.ResponseWriter, r *http.Request) {
	if !hasToken(r.Header, "Upgrade", "echo") || !hasToken(r.Header, "Connection", "upgrade") {
		w.Header().Set("Upgrade", "echo")
		http.Error(w, "this path speaks the protocol echo", http.StatusUpgradeRequired)
		return
	}
	conn, buffered, ok := takeOver(w, "echo", "")
	if !ok {
		return
	}
	defer conn.Close()
	io.Copy(conn, buffered.Reader)
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// hasToken looks for a token in a comma-separated header, whatever its case.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for _, word := range strings.Split(line, ",") {
			if strings.EqualFold(strings.TrimSpace(word), token) {
				return true
			}
		}
	}
	return false
}
