package main

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// Byte i of every generated body is i % period. The period is a prime, so a
// piece that is lost, doubled or out of place shows.
const period = 251

const piece = 32 << 10

// block is a whole number of periods, about 256 KiB: bodies are cut from it.
var block = func() []byte {
	b := make([]byte, period*1044)
	for i := range b {
		b[i] = byte(i % period)
	}
	return b
}()

// writeBytes writes bytes offset to offset+n of the generated body. It never
// writes more than limit at once, so that the caller can flush in between.
func writeBytes(w io.Writer, offset, n, limit int64) error {
	for n > 0 {
		start := offset % period
		size := min(n, limit, int64(len(block))-start)
		if _, err := w.Write(block[start : start+size]); err != nil {
			return err
		}
		offset += size
		n -= size
	}
	return nil
}

// sendBytes answers n bytes with a Content-Length.
func sendBytes(w http.ResponseWriter, r *http.Request) {
	n, ok := pathSize(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	writeBytes(w, 0, n, int64(len(block)))
}

// sendChunked answers n bytes without a Content-Length, flushed every 32 KiB.
func sendChunked(w http.ResponseWriter, r *http.Request) {
	n, ok := pathSize(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	sendPieces(w, r, n, piece, 0)
}

// sendSlowly answers n bytes with a Content-Length, ?chunk= bytes ?every= so
// often.
func sendSlowly(w http.ResponseWriter, r *http.Request) {
	n, ok := pathSize(w, r)
	if !ok {
		return
	}
	chunk, ok := queryInt(w, r, "chunk", 1024)
	if !ok {
		return
	}
	every, ok := queryDuration(w, r, "every", 100*time.Millisecond)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	sendPieces(w, r, n, max(chunk, 1), every)
}

// sendPieces writes n bytes in flushed pieces, waiting for pause in between.
func sendPieces(w http.ResponseWriter, r *http.Request, n, size int64, pause time.Duration) {
	flush := http.NewResponseController(w).Flush
	flush() // the head goes out alone, so that even an empty body is chunked
	for offset := int64(0); offset < n; offset += size {
		if offset > 0 && !wait(r, pause) {
			return
		}
		if err := writeBytes(w, offset, min(size, n-offset), size); err != nil {
			return
		}
		if err := flush(); err != nil {
			return
		}
	}
}
