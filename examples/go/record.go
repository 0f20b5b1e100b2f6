package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// recordLimit is how many of the latest requests are remembered.
const recordLimit = 10_000

// visit is one request as the service saw it.
type visit struct {
	ID           string     `json:"-"`
	Method       string     `json:"method"`
	Path         string     `json:"path"`
	Started      time.Time  `json:"started"`
	Finished     *time.Time `json:"finished"` // null while the handler runs
	ContextEnded bool       `json:"context_ended"`
	BytesIn      int64      `json:"bytes_in"`
	TimeoutMs    *string    `json:"x_request_timeout_ms"` // the header as it came

	body *countedBody
}

// countedBody counts what a handler reads. The count is atomic because it may
// be looked at while the handler reads.
type countedBody struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// recorder remembers the latest requests by their X-Request-ID (the empty
// string for those without one), and totals.
type recorder struct {
	mu            sync.Mutex
	visits        []*visit // a ring of the latest recordLimit
	next          int
	byID          map[string][]*visit
	requests      int64
	contextsEnded int64
	inFlight      int64
}

func newRecorder() *recorder {
	return &recorder{byID: make(map[string][]*visit)}
}

// watch records every request that next serves, but those for "/_" paths.
func (rec *recorder) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_") {
			next.ServeHTTP(w, r)
			return
		}
		v := rec.begin(r)
		defer func() { rec.end(v, r.Context().Err() != nil) }() // also when a handler panics
		next.ServeHTTP(w, r)
	})
}

func (rec *recorder) begin(r *http.Request) *visit {
	body := &countedBody{ReadCloser: r.Body}
	if r.Body != http.NoBody {
		r.Body = body // NoBody means something to net/http: leave it as it is
	}
	v := &visit{ID: r.Header.Get("X-Request-ID"), Method: r.Method, Path: r.URL.Path, Started: time.Now(), body: body}
	if values := r.Header.Values("X-Request-Timeout-Ms"); len(values) > 0 {
		joined := strings.Join(values, ", ")
		v.TimeoutMs = &joined
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.requests++
	rec.inFlight++
	rec.byID[v.ID] = append(rec.byID[v.ID], v)
	if len(rec.visits) < recordLimit {
		rec.visits = append(rec.visits, v)
		return v
	}
	rec.forget(rec.visits[rec.next])
	rec.visits[rec.next] = v
	rec.next = (rec.next + 1) % recordLimit
	return v
}

// forget drops the oldest visit: it is the first of its ID.
func (rec *recorder) forget(old *visit) {
	rest := rec.byID[old.ID][1:]
	if len(rest) == 0 {
		delete(rec.byID, old.ID)
		return
	}
	rec.byID[old.ID] = rest
}

func (rec *recorder) end(v *visit, contextEnded bool) {
	now := time.Now()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	v.Finished = &now
	v.ContextEnded = contextEnded
	rec.inFlight--
	if contextEnded {
		rec.contextsEnded++
	}
}

// showAll answers the totals and every remembered visit.
func (rec *recorder) showAll(w http.ResponseWriter, _ *http.Request) {
	rec.mu.Lock()
	byID := make(map[string][]visit, len(rec.byID))
	for id, visits := range rec.byID {
		byID[id] = copies(visits)
	}
	answer := map[string]any{
		"requests":       rec.requests,
		"contexts_ended": rec.contextsEnded,
		"in_flight":      rec.inFlight,
		"by_id":          byID,
	}
	rec.mu.Unlock()
	sendJSON(w, http.StatusOK, answer)
}

// showOne answers the visits of one request ID; an unknown one has none.
func (rec *recorder) showOne(w http.ResponseWriter, r *http.Request) {
	rec.mu.Lock()
	visits := copies(rec.byID[r.PathValue("id")])
	rec.mu.Unlock()
	sendJSON(w, http.StatusOK, visits)
}

func copies(visits []*visit) []visit {
	out := make([]visit, 0, len(visits))
	for _, v := range visits {
		c := *v
		c.BytesIn = v.body.n.Load()
		out = append(out, c)
	}
	return out
}

// reset forgets everything but what is in flight: those still count down.
func (rec *recorder) reset(w http.ResponseWriter, _ *http.Request) {
	rec.mu.Lock()
	rec.visits, rec.next = nil, 0
	rec.byID = make(map[string][]*visit)
	rec.requests, rec.contextsEnded = 0, 0
	rec.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}
