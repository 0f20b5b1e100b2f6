package main

import (
	"net/http"
	"strconv"
	"sync"
)

// abort promises more than the ?after= bytes it sends, then cuts the
// connection.
func abort(w http.ResponseWriter, r *http.Request) {
	after, ok := queryInt(w, r, "after", 1024)
	if !ok {
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(after+1<<20, 10))
	cutAfter(w, after)
}

// abortChunked is abort without a Content-Length: the last chunk is missing.
func abortChunked(w http.ResponseWriter, r *http.Request) {
	after, ok := queryInt(w, r, "after", 1024)
	if !ok {
		return
	}
	cutAfter(w, after)
}

func cutAfter(w http.ResponseWriter, n int64) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(http.StatusOK)
	writeBytes(w, 0, n, int64(len(block)))
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler) // net/http's way to close without an end
}

// flaky fails the first requests of each key, then answers.
type flaky struct {
	mu   sync.Mutex
	seen map[string]int64
}

func newFlaky() *flaky {
	return &flaky{seen: make(map[string]int64)}
}

// serve answers ?status= (503; 0 cuts the connection) to the first ?failures=
// (1) requests for {key}, and 200 to those after.
func (f *flaky) serve(w http.ResponseWriter, r *http.Request) {
	failures, ok := queryInt(w, r, "failures", 1)
	if !ok {
		return
	}
	code, ok := queryInt(w, r, "status", http.StatusServiceUnavailable)
	if !ok {
		return
	}
	if code != 0 && !mayAnswer(code) {
		http.Error(w, "status must be 0 or 200 to 999", http.StatusBadRequest)
		return
	}
	attempt := f.count(r.PathValue("key"))
	switch {
	case attempt > failures:
		sendJSON(w, http.StatusOK, map[string]int64{"attempt": attempt})
	case code == 0:
		panic(http.ErrAbortHandler)
	default:
		sendJSON(w, int(code), map[string]int64{"attempt": attempt})
	}
}

func (f *flaky) count(key string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) >= 10_000 {
		clear(f.seen) // bounded; a key is used within one test
	}
	f.seen[key]++
	return f.seen[key]
}
