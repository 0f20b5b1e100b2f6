// Command reverseproxy is the plain reverse proxy of Go's standard library, for comparison with the sidecar.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "host:port; port 0 picks one")
	upstream := flag.String("upstream", "", "the service's URL")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil || target.Host == "" {
		log.Fatalf("-upstream is no URL: %q", *upstream)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	log.SetOutput(io.Discard) // net/http tells of each malformed message: here that is most of them
	_ = http.Serve(listener, proxyTo(target))
}

// proxyTo passes Host as it came and asks for no compression of its own, as the sidecar does.
func proxyTo(target *url.URL) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
			request.Out.Host = request.In.Host
			request.SetXForwarded()
		},
		Transport: &http.Transport{DisableCompression: true},
	}
}
