// Command misbehaving is the service of the flood tests: well-behaved at /other, and as bad as its path says elsewhere.
//
// It speaks HTTP/1.1 over plain sockets, since net/http would not let it break the protocol. It prints its port and
// runs until its standard input ends.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	big  = 32 << 20               // bytes of /big
	tick = 100 * time.Millisecond // between two drips
	soon = time.Millisecond       // between two pieces of a flood: as fast as it can, it would keep /other from its core
	hour = time.Hour              // longer than any client waits

	chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
)

var (
	piece = bytes.Repeat([]byte("x"), 64<<10)
	long  = "X-More: " + strings.Repeat("x", 1000) + "\r\n"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go serve(connection)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serve answers one request after the other until the peer has gone, or cannot be understood.
func serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		path := request.URL.Path
		if path == "/unread" {
			time.Sleep(hour)
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
		if answer(connection, path) != nil {
			return
		}
	}
}

// answer does what the path says; an error tells that the peer has gone.
func answer(connection net.Conn, path string) error {
	switch path {
	case "/big":
		if err := say(connection, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", big)); err != nil {
			return err
		}
		for range big / len(piece) {
			if _, err := connection.Write(piece); err != nil {
				return err
			}
		}
		return nil
	case "/never":
		time.Sleep(hour)
	case "/dripping-head":
		return forever(connection, tick, "HTTP/1.1 200 OK\r\nX-Slow: ", "x")
	case "/endless-head":
		return forever(connection, soon, "HTTP/1.1 200 OK\r\n", long)
	case "/interim":
		return forever(connection, soon, "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
	case "/endless-trailers":
		if err := say(connection, chunked+"1\r\nx\r\n"); err != nil {
			return err
		}
		time.Sleep(tick) // the head and the chunk are on their way to the client
		return forever(connection, soon, "0\r\n", long)
	case "/stalling":
		if err := say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"); err != nil {
			return err
		}
		time.Sleep(hour)
	case "/dripping":
		return forever(connection, tick, chunked, "1\r\nx\r\n")
	}
	return say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

// forever says begin, and then again and again, until the peer has gone.
func forever(connection net.Conn, every time.Duration, begin, again string) error {
	err := say(connection, begin)
	for err == nil {
		err = say(connection, again)
		time.Sleep(every)
	}
	return err
}

func say(connection net.Conn, words string) error {
	_, err := io.WriteString(connection, words)
	return err
}
