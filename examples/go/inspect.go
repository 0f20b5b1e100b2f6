package main

import "net/http"

// showRequest answers everything the handler saw of the request.
func showRequest(w http.ResponseWriter, r *http.Request) {
	size := readAll(r) // trailers are known only after the body
	sendJSON(w, http.StatusOK, map[string]any{
		"method":            r.Method,
		"uri":               r.RequestURI,
		"proto":             r.Proto,
		"host":              r.Host,
		"headers":           r.Header,
		"trailers":          r.Trailer,
		"remote_addr":       r.RemoteAddr,
		"content_length":    r.ContentLength,
		"transfer_encoding": r.TransferEncoding,
		"close":             r.Close,
		"body_bytes":        size,
	})
}
