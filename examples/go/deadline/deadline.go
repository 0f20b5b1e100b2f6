// Package deadline turns the time that a caller leaves for a request into the
// deadline of the request's context, and tells further services what is left.
//
//	mux.HandleFunc("GET /orders/{id}", order)
//	err := http.ListenAndServe(":8080", deadline.Handler(mux))
//
//	client := &http.Client{Transport: deadline.Transport{}}
//	request, err := http.NewRequestWithContext(r.Context(), "GET", stockURL, nil)
//	response, err := client.Do(request)
//	err = db.QueryRowContext(r.Context(), query, r.PathValue("id")).Scan(&name)
//
// It needs the standard library only: copy this file into your service.
package deadline

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// fields hold what is left in milliseconds. The sidecar sends both on every
// attempt; Envoy sends the second one.
var fields = [...]string{"X-Request-Timeout-Ms", "X-Envoy-Expected-Rq-Timeout-Ms"}

// maxDigits of milliseconds are eleven days: with more, nobody means a deadline.
const maxDigits = 9

// Handler gives the context of every request that says how long its caller
// waits a deadline, and calls next. Nothing is subtracted: the sidecar has kept
// its margin already.
//
// The deadline works only through r.Context(): pass it to all that may take
// long. A handler that gives up because of it must not return as if it were
// done, for that is an empty 200; answer 504 instead.
//
// What the sidecar's --timeout bounds is the wait for the response's head; the
// context ends with the handler's whole work. So event streams (by Accept) and
// upgrades are left as they are; long uploads, downloads and other streams
// should be served outside of Handler. All of these end with their client.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if left, ok := Left(r.Header); ok && !streams(r) {
			ctx, cancel := context.WithTimeout(r.Context(), left)
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// Left returns the time that a request's header leaves for it, the smallest if
// there are several. A field that is not a plain number of at most nine digits,
// or is there twice, does not count; ok is false if none does.
func Left(header http.Header) (left time.Duration, ok bool) {
	for _, name := range fields {
		values := header[name]
		if len(values) != 1 || len(values[0]) > maxDigits {
			continue
		}
		ms, err := strconv.ParseUint(values[0], 10, 64) // base 10: digits alone
		if err != nil {
			continue
		}
		if said := time.Duration(ms) * time.Millisecond; !ok || said < left {
			left, ok = said, true
		}
	}
	return left, ok
}

func streams(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" || strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// Transport is a RoundTripper that tells the service it calls how much time
// the request's context has left, as that service may hand it on in turn. A
// smaller time that the request says already stays.
type Transport struct {
	Base http.RoundTripper // nil: http.DefaultTransport
}

// RoundTrip sends a copy of r that says what is left.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if end, ok := r.Context().Deadline(); ok {
		r = r.Clone(r.Context()) // a RoundTripper must leave the request as it was
		say(r.Header, time.Until(end))
	}
	return base.RoundTrip(r)
}

func say(header http.Header, left time.Duration) {
	if said, ok := Left(header); ok && said < left {
		left = said
	}
	// Never 0, which some read as "no limit"; Base sees itself that time is up.
	ms := strconv.FormatInt(max(1, left.Milliseconds()), 10)
	if len(ms) > maxDigits {
		return
	}
	for _, name := range fields {
		header.Set(name, ms)
	}
}
