-- The load: a dozen ordinary request headers, and the result as one line of JSON.
-- No request() is defined, so that wrk formats the request once.

function init(args)
   wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
   wrk.headers["Accept"] = "application/json, text/plain, */*"
   wrk.headers["Accept-Language"] = "en-GB,en;q=0.7,de;q=0.3"
   wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
   wrk.headers["Authorization"] = "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI0MiIsImV4cCI6MTkwMDAwMDAwMH0.c2lnbmF0dXJl"
   wrk.headers["Cookie"] = "session=8c1f6b0e2d; theme=dark; consent=1"
   wrk.headers["Referer"] = "https://shop.example.com/orders"
   wrk.headers["Cache-Control"] = "no-cache"
   wrk.headers["Traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
   wrk.headers["Sec-Fetch-Mode"] = "cors"
   wrk.headers["Sec-Fetch-Site"] = "same-origin"
   if args[1] == "upload" then
      wrk.method = "POST"
      wrk.headers["Content-Type"] = "application/octet-stream"
      wrk.body = string.rep("x", 1048576)
   end
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '{"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      e.connect, e.read, e.write, e.timeout, e.status))
end
