package main

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
)

// upload reads the body to its end and answers its size and SHA-256;
// ?hash=0 leaves the hash out.
func upload(w http.ResponseWriter, r *http.Request) {
	var digest hash.Hash
	var sink io.Writer = io.Discard
	if r.URL.Query().Get("hash") != "0" {
		digest = sha256.New()
		sink = digest
	}
	n, err := io.CopyBuffer(onlyWriter{sink}, r.Body, make([]byte, 64<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := map[string]any{"bytes": n}
	if digest != nil {
		answer["sha256"] = hex.EncodeToString(digest.Sum(nil))
	}
	sendJSON(w, http.StatusOK, answer)
}

// onlyWriter hides ReadFrom, or CopyBuffer would not use its buffer.
type onlyWriter struct{ io.Writer }

// echo sends each piece of the body back as it arrives.
func echo(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	// Without full duplex, net/http reads the rest of the body before the
	// first byte of the answer goes out. Only HTTP/1 needs to be told.
	_ = control.EnableFullDuplex()
	if kind := r.Header.Get("Content-Type"); kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	control.Flush()
	buf := make([]byte, piece)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			control.Flush()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // half a body must not look whole
		}
	}
}

// early answers ?status= (200) at once and leaves the body unread.
func early(w http.ResponseWriter, r *http.Request) {
	code, ok := queryInt(w, r, "status", http.StatusOK)
	if !ok {
		return
	}
	if !mayAnswer(code) {
		http.Error(w, "status must be 200 to 999", http.StatusBadRequest)
		return
	}
	// As in echo: otherwise up to 256 KiB of body would be awaited first.
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	sendJSON(w, int(code), map[string]int64{"status": code})
	control.Flush()
}

// continueFirst reads the body: net/http sends 100 Continue at the first
// read, to a client that asked for it.
func continueFirst(w http.ResponseWriter, r *http.Request) {
	expected := r.Header.Get("Expect")
	sendJSON(w, http.StatusOK, map[string]any{"bytes": readAll(r), "expect": expected})
}
