package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(newHandler())
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, url string) (*http.Response, []byte) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

func TestHelloHasNineHeaders(t *testing.T) {
	response, body := get(t, start(t).URL+"/hello")
	if len(response.Header) != 9 || !json.Valid(body) || len(body) < 120 || len(body) > 180 {
		t.Errorf("%d headers %v, %d bytes %s", len(response.Header), response.Header, len(body), body)
	}
}

func TestItemEchoesItsID(t *testing.T) {
	_, body := get(t, start(t).URL+"/items/a%22b")
	var order struct{ ID string }
	if err := json.Unmarshal(body, &order); err != nil || order.ID != `a"b` {
		t.Errorf("%s: %v", body, err)
	}
}

func TestBodiesAreDeterministic(t *testing.T) {
	const n = 600_001
	want := make([]byte, n)
	for i := range want {
		want[i] = byte(i % 251)
	}
	server := start(t)
	for _, path := range []string{"/bytes/%d", "/chunked/%d", "/slow-bytes/%d?chunk=200000&every=1ms"} {
		response, body := get(t, server.URL+fmt.Sprintf(path, n))
		if !bytes.Equal(body, want) {
			t.Errorf("%s: other bytes (%d of them)", path, len(body))
		}
		if isChunked := response.ContentLength == -1; isChunked != strings.HasPrefix(path, "/chunked") {
			t.Errorf("%s: Content-Length %d", path, response.ContentLength)
		}
	}
}

func TestUploadHashesTheBody(t *testing.T) {
	sent := bytes.Repeat([]byte("sidecar"), 100_000)
	response, err := http.Post(start(t).URL+"/upload", "application/octet-stream", bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Bytes  int
		SHA256 string
	}
	sum := sha256.Sum256(sent)
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Bytes != len(sent) || answer.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("got %+v", answer)
	}
}

func TestEchoIsFullDuplex(t *testing.T) {
	reader, writer := io.Pipe()
	response, err := http.Post(start(t).URL+"/echo", "text/plain", reader)
	if err != nil {
		t.Fatal(err) // the head came before the body ended
	}
	defer response.Body.Close()
	for _, word := range []string{"one", "two"} {
		io.WriteString(writer, word)
		got := make([]byte, len(word))
		if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != word {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	writer.Close()
	if rest, err := io.ReadAll(response.Body); len(rest) != 0 || err != nil {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestEarlyLeavesTheBodyUnread(t *testing.T) {
	conn := dial(t, start(t))
	io.WriteString(conn, "POST /early?status=403 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != 403 {
		t.Errorf("got %v, %v", response, err)
	}
}

func TestTrailersFollowTheBody(t *testing.T) {
	response, _ := get(t, start(t).URL+"/trailers")
	if response.Trailer.Get("X-Checksum") != "f00d" || response.Trailer.Get("X-Count") != "1" {
		t.Errorf("trailers %v", response.Trailer)
	}
}

func TestEarlyHintsComeBeforeTheAnswer(t *testing.T) {
	conn := dial(t, start(t))
	io.WriteString(conn, "GET /early-hints HTTP/1.1\r\nHost: x\r\n\r\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	if !strings.HasPrefix(line, "HTTP/1.1 103 ") {
		t.Errorf("first line %q", line)
	}
}

func TestAnAbortedBodyIsVisiblyCut(t *testing.T) {
	server := start(t)
	for _, path := range []string{"/abort?after=5000", "/abort-chunked?after=5000"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if len(body) != 5000 || err != io.ErrUnexpectedEOF {
			t.Errorf("%s: %d bytes, %v", path, len(body), err)
		}
	}
}

func TestFlakyFailsThenAnswers(t *testing.T) {
	server := start(t)
	for i, want := range []int{503, 503, 200} {
		response, _ := get(t, server.URL+"/flaky/a?failures=2")
		if response.StatusCode != want {
			t.Errorf("attempt %d: %d", i+1, response.StatusCode)
		}
	}
}

func TestHoldAnswersOnceReleased(t *testing.T) {
	server := start(t)
	answered := make(chan int, 1)
	go func() {
		response, err := http.Get(server.URL + "/hold/a?status=503")
		if err != nil {
			answered <- 0
			return
		}
		response.Body.Close()
		answered <- response.StatusCode
	}()
	select {
	case code := <-answered:
		t.Fatalf("answered %d before it was released", code)
	case <-time.After(50 * time.Millisecond):
	}
	response, err := http.Post(server.URL+"/_release/a", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if code := <-answered; code != 503 {
		t.Errorf("held: got %d", code)
	}
	if response, _ := get(t, server.URL+"/hold/a"); response.StatusCode != 200 {
		t.Errorf("after the release: got %d", response.StatusCode)
	}
}

func TestStatus(t *testing.T) {
	server := start(t)
	for _, code := range []int{200, 204, 304, 404, 503, 599} {
		response, _ := get(t, fmt.Sprintf("%s/status/%d?retry_after=7", server.URL, code))
		if response.StatusCode != code || response.Header.Get("Retry-After") != "7" {
			t.Errorf("%d: got %d %v", code, response.StatusCode, response.Header)
		}
	}
	if response, _ := get(t, server.URL+"/status/101"); response.StatusCode != 400 {
		t.Errorf("101: got %d", response.StatusCode)
	}
}

func TestDeadlineSaysWhatIsLeft(t *testing.T) {
	server := start(t)
	for _, test := range []struct {
		query, header string
		status        int
		least, most   float64 // of the milliseconds left; 0 and 0: there is no deadline
	}{
		{"", "", 200, 0, 0},
		{"", "60000", 200, 55_000, 60_000},
		{"?wait=30ms", "60000", 200, 55_000, 59_970},
		{"?wait=1m", "30", 504, 0, 0},
		{"?wait=x", "", 400, 0, 0},
	} {
		request, _ := http.NewRequest("GET", server.URL+"/deadline"+test.query, nil)
		if test.header != "" {
			request.Header.Set("X-Request-Timeout-Ms", test.header)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Left *float64 `json:"remaining_ms"`
		}
		if response.StatusCode == 200 {
			json.NewDecoder(response.Body).Decode(&answer)
		}
		response.Body.Close()
		if response.StatusCode != test.status || (answer.Left != nil) != (test.most > 0) {
			t.Errorf("%+v: %d, %v", test, response.StatusCode, answer.Left)
		} else if answer.Left != nil && (*answer.Left < test.least || *answer.Left > test.most) {
			t.Errorf("%+v: %v ms are left", test, *answer.Left)
		}
	}
}

func TestTheRecordKnowsWhoLeft(t *testing.T) {
	server := start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/hang", nil)
	request.Header.Set("X-Request-ID", "leaver")
	request.Header.Set("X-Request-Timeout-Ms", "50")
	if _, err := http.DefaultClient.Do(request); err == nil {
		t.Fatal("hang answered")
	}

	var visits []struct {
		Path         string
		Finished     *time.Time
		ContextEnded bool   `json:"context_ended"`
		TimeoutMs    string `json:"x_request_timeout_ms"`
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		_, body := get(t, server.URL+"/_record/leaver")
		if err := json.Unmarshal(body, &visits); err != nil {
			t.Fatal(err)
		}
		if len(visits) == 1 && visits[0].Finished != nil {
			break
		}
	}
	if len(visits) != 1 || !visits[0].ContextEnded || visits[0].Path != "/hang" || visits[0].TimeoutMs != "50" {
		t.Errorf("visits %+v", visits)
	}
}

func TestTheRecordIsBounded(t *testing.T) {
	rec := newRecorder()
	handler := rec.watch(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for i := range recordLimit + 500 {
		request := httptest.NewRequest("GET", "/hello", nil)
		request.Header.Set("X-Request-ID", fmt.Sprint(i%300))
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}
	kept := 0
	for _, visits := range rec.byID {
		kept += len(visits)
	}
	if kept != recordLimit || rec.requests != recordLimit+500 || rec.inFlight != 0 {
		t.Errorf("kept %d of %d, %d in flight", kept, rec.requests, rec.inFlight)
	}
}

func TestRawUpgradeHalfCloses(t *testing.T) {
	conn := dial(t, start(t))
	io.WriteString(conn, "GET /raw-upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst ")
	reader := bufio.NewReader(conn)
	if response, err := http.ReadResponse(reader, nil); err != nil || response.StatusCode != 101 {
		t.Fatalf("got %v, %v", response, err)
	}
	io.WriteString(conn, "second")
	conn.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(reader); string(rest) != "first second" || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestUnixListenerReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	listener, err := openListener("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if describe(listener) != "unix:"+path {
		t.Errorf("described as %s", describe(listener))
	}
}

func dial(t *testing.T, server *httptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	return conn
}
