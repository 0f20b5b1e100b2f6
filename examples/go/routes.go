package main

import (
	"net/http"

	"goservice/deadline"
)

// newHandler returns the whole service: every route, seen by one recorder.
func newHandler() http.Handler {
	rec := newRecorder()
	flaky := newFlaky()
	holds := newHolds()
	mux := http.NewServeMux()

	mux.HandleFunc("GET /{$}", hello)
	mux.HandleFunc("GET /hello", hello)
	mux.HandleFunc("GET /items/{id}", item)

	mux.HandleFunc("GET /bytes/{n}", sendBytes)
	mux.HandleFunc("GET /chunked/{n}", sendChunked)
	mux.HandleFunc("GET /slow-bytes/{n}", sendSlowly)
	mux.HandleFunc("GET /sse", sendEvents)

	mux.HandleFunc("POST /upload", upload)
	mux.HandleFunc("PUT /upload", upload)
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/early", early)
	mux.HandleFunc("/continue", continueFirst)
	mux.HandleFunc("/headers", showRequest)

	mux.HandleFunc("/status/{code}", status)
	mux.HandleFunc("/flaky/{key}", flaky.serve)
	mux.HandleFunc("/trailers", trailers)
	mux.HandleFunc("/early-hints", earlyHints)

	mux.HandleFunc("/sleep/{duration}", sleep)
	mux.Handle("/deadline", deadline.Handler(http.HandlerFunc(timeLeft)))
	mux.HandleFunc("/hang", hang)
	mux.HandleFunc("/hold/{key}", holds.serve)
	mux.HandleFunc("POST /_release/{key}", holds.release)
	mux.HandleFunc("/close", closeAfter)
	mux.HandleFunc("/abort", abort)
	mux.HandleFunc("/abort-chunked", abortChunked)

	mux.HandleFunc("GET /ws", serveWebSocket)
	mux.HandleFunc("/raw-upgrade", rawUpgrade)

	mux.HandleFunc("GET /_record", rec.showAll)
	mux.HandleFunc("GET /_record/{id}", rec.showOne)
	mux.HandleFunc("POST /_record/reset", rec.reset)
	return rec.watch(mux)
}
