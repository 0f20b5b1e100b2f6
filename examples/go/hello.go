package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// hello answers about 150 bytes of JSON under nine headers, as real traffic
// has them (net/http adds Date).
func hello(w http.ResponseWriter, _ *http.Request) {
	sendOrder(w, "42")
}

// item is hello with the path's id in it.
func item(w http.ResponseWriter, r *http.Request) {
	sendOrder(w, r.PathValue("id"))
}

func sendOrder(w http.ResponseWriter, id string) {
	quoted, err := json.Marshal(id)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body := fmt.Appendf(nil, `{"id":%s,"name":"Ada Lovelace","state":"shipped","total":"129.90","currency":"EUR",`+
		`"items":[{"sku":"A-1","count":2},{"sku":"B-7","count":1}],"note":null}`+"\n", quoted)

	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "private, max-age=0, must-revalidate")
	h.Set("Vary", "Accept, Accept-Encoding")
	h.Set("Etag", `W/"96-3f2a9c1d"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	h.Set("Set-Cookie", "session=8c1f6b0e2d; Path=/; HttpOnly; SameSite=Lax")
	w.Write(body)
}

// sendJSON answers v with the given status.
func sendJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(code)
	w.Write(append(body, '\n'))
}
