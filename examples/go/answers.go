package main

import (
	"net/http"
	"strconv"
)

// mayAnswer tells whether a handler can end a request with this status.
func mayAnswer(code int64) bool {
	return code >= 200 && code <= 999
}

// status answers {code}, with a body where HTTP allows one, and with
// Retry-After if ?retry_after= asks for it.
func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.ParseInt(r.PathValue("code"), 10, 64)
	if err != nil || !mayAnswer(code) {
		http.Error(w, "the status must be 200 to 999", http.StatusBadRequest)
		return
	}
	if after := r.URL.Query().Get("retry_after"); after != "" {
		w.Header().Set("Retry-After", after)
	}
	if code == http.StatusNoContent || code == http.StatusNotModified {
		w.WriteHeader(int(code))
		return
	}
	sendJSON(w, int(code), map[string]int64{"status": code})
}

// trailers answers a chunked body with two declared trailers.
func trailers(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Trailer", "X-Checksum, X-Count")
	w.WriteHeader(http.StatusOK)
	w.Write([]byte("the trailers follow\n"))
	h.Set("X-Checksum", "f00d")
	h.Set("X-Count", "1")
}

// earlyHints sends 103 with a Link, then 200.
func earlyHints(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload; as=style")
	w.WriteHeader(http.StatusEarlyHints)
	hello(w, r)
}

// closeAfter answers and closes the connection.
func closeAfter(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	hello(w, r)
}
