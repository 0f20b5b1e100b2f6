package main

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// pathSize reads {n} of the path; it has answered 400 when ok is false.
func pathSize(w http.ResponseWriter, r *http.Request) (n int64, ok bool) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 {
		http.Error(w, "the size must be a whole number of bytes", http.StatusBadRequest)
		return 0, false
	}
	return n, true
}

// queryInt reads a number from the query, or fallback when it is not there;
// it has answered 400 when ok is false.
func queryInt(w http.ResponseWriter, r *http.Request, name string, fallback int64) (n int64, ok bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		http.Error(w, fmt.Sprintf("%s must be a whole number", name), http.StatusBadRequest)
		return 0, false
	}
	return n, true
}

// queryDuration is queryInt for durations such as 250ms.
func queryDuration(w http.ResponseWriter, r *http.Request, name string, fallback time.Duration) (time.Duration, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, true
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		http.Error(w, fmt.Sprintf("%s must be a duration such as 250ms", name), http.StatusBadRequest)
		return 0, false
	}
	return d, true
}
