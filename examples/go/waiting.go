package main

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// wait returns true after d, or false as soon as the client has gone.
func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return r.Context().Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// sleep answers after {duration}, or leaves when the client does.
func sleep(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.PathValue("duration"))
	if err != nil {
		http.Error(w, "the duration must look like 250ms", http.StatusBadRequest)
		return
	}
	readAll(r)
	if wait(r, d) {
		sendJSON(w, http.StatusOK, map[string]string{"slept": d.String()})
	}
}

// timeLeft answers, after ?wait= (0s), the milliseconds that the request's
// context has left (null: no deadline) and the header that says so; 504 if the
// context ends before.
func timeLeft(w http.ResponseWriter, r *http.Request) {
	d, ok := queryDuration(w, r, "wait", 0)
	if !ok {
		return
	}
	readAll(r)
	if !wait(r, d) {
		http.Error(w, "no time is left", http.StatusGatewayTimeout)
		return
	}
	var left *float64
	if end, ok := r.Context().Deadline(); ok {
		ms := time.Until(end).Seconds() * 1000
		left = &ms
	}
	sendJSON(w, http.StatusOK, map[string]any{"remaining_ms": left, "headers": r.Header})
}

// hang never answers; it leaves when the client does.
func hang(_ http.ResponseWriter, r *http.Request) {
	readAll(r)
	<-r.Context().Done()
	panic(http.ErrAbortHandler) // to return would be to answer 200
}

// readAll takes the body in: the server only notices that a client has gone
// (and ends the context) once the request has been read whole.
func readAll(r *http.Request) int64 {
	n, _ := io.Copy(io.Discard, r.Body)
	return n
}

// sendEvents sends ?n= server-sent events (0 = without end), one ?every= so
// often, each flushed by itself.
func sendEvents(w http.ResponseWriter, r *http.Request) {
	n, ok := queryInt(w, r, "n", 10)
	if !ok {
		return
	}
	every, ok := queryDuration(w, r, "every", 100*time.Millisecond)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	flush := http.NewResponseController(w).Flush
	flush()
	for i := int64(1); n == 0 || i <= n; i++ {
		if i > 1 && !wait(r, every) {
			return
		}
		if _, err := fmt.Fprintf(w, "id: %d\ndata: {\"event\":%d}\n\n", i, i); err != nil {
			return
		}
		flush()
	}
}
