package main

import (
	"context"
	"net/http"
	"sync"
)

// holds keeps requests back, those of each key until it is released.
type holds struct {
	mu    sync.Mutex
	gates map[string]gate
}

// gate is open for good once release has been called.
type gate struct {
	released <-chan struct{}
	release  func()
}

func newHolds() *holds {
	return &holds{gates: make(map[string]gate)}
}

// serve answers ?status= (200) once {key} has been released, at once if it was
// before, or leaves when the client does.
func (h *holds) serve(w http.ResponseWriter, r *http.Request) {
	code, ok := queryInt(w, r, "status", http.StatusOK)
	if !ok {
		return
	}
	if !mayAnswer(code) {
		http.Error(w, "status must be 200 to 999", http.StatusBadRequest)
		return
	}
	readAll(r)
	select {
	case <-h.gate(r.PathValue("key")).released:
		sendJSON(w, int(code), map[string]int64{"status": code})
	case <-r.Context().Done():
	}
}

// release lets go what {key} holds, and whatever comes for it later.
func (h *holds) release(w http.ResponseWriter, r *http.Request) {
	h.gate(r.PathValue("key")).release()
	w.WriteHeader(http.StatusNoContent)
}

func (h *holds) gate(key string) gate {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g, ok := h.gates[key]; ok {
		return g
	}
	if len(h.gates) >= 10_000 {
		clear(h.gates) // bounded; a key is used within one test
	}
	ctx, release := context.WithCancel(context.Background())
	g := gate{released: ctx.Done(), release: release}
	h.gates[key] = g
	return g
}
