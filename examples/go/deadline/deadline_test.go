package deadline

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

const slack = 5 * time.Second // for machines that are slow

// serve has Handler serve a request with these header fields, and returns the
// context that the handler behind it got, with the time that was left then.
func serve(fields ...string) (ctx context.Context, left time.Duration, bounded bool) {
	r := httptest.NewRequest("GET", "/", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx = r.Context()
		var end time.Time
		end, bounded = ctx.Deadline()
		left = time.Until(end)
	})).ServeHTTP(httptest.NewRecorder(), r)
	return ctx, left, bounded
}

func TestTheHeaderBecomesTheDeadline(t *testing.T) {
	for _, test := range []struct {
		fields []string
		want   time.Duration
	}{
		{[]string{"X-Request-Timeout-Ms", "60000"}, time.Minute},
		{[]string{"x-request-timeout-ms", "60000"}, time.Minute},
		{[]string{"X-Envoy-Expected-Rq-Timeout-Ms", "60000"}, time.Minute},
		{[]string{"X-Request-Timeout-Ms", "60000", "X-Envoy-Expected-Rq-Timeout-Ms", "90000"}, time.Minute},
		{[]string{"X-Request-Timeout-Ms", "90000", "X-Envoy-Expected-Rq-Timeout-Ms", "60000"}, time.Minute},
		{[]string{"X-Request-Timeout-Ms", "+1", "X-Envoy-Expected-Rq-Timeout-Ms", "60000"}, time.Minute},
		{[]string{"X-Request-Timeout-Ms", "000060000"}, time.Minute},
		{[]string{"X-Request-Timeout-Ms", "999999999"}, 999_999_999 * time.Millisecond},
	} {
		_, left, bounded := serve(test.fields...)
		if !bounded || left > test.want || left < test.want-slack {
			t.Errorf("%q: %v left, %v", test.fields, left, bounded)
		}
	}
}

func TestWhatIsNoPlainNumberDoesNotCount(t *testing.T) {
	for _, value := range []string{
		"", " ", "-1", "+1", "1.5", "1e3", "1_000", "0x10", "5ms", "5 ", " 5", "5, 6", "1000000000", "٥", "²",
		"99999999999999999999999999",
	} {
		for _, name := range fields {
			if _, left, bounded := serve(name, value); bounded {
				t.Errorf("%s: %q leaves %v", name, value, left)
			}
		}
	}
	if _, left, bounded := serve("X-Request-Timeout-Ms", "5", "X-Request-Timeout-Ms", "6"); bounded {
		t.Errorf("two fields leave %v", left)
	}
}

func TestSilenceSetsNoDeadline(t *testing.T) {
	if ctx, _, bounded := serve("Accept", "*/*"); bounded || ctx.Err() != nil {
		t.Error(ctx)
	}
}

func TestStreamsAreLeftAlone(t *testing.T) {
	for _, fields := range [][]string{
		{"Accept", "text/event-stream"},
		{"Accept", "application/json, text/event-stream;q=0.9"},
		{"Connection", "Upgrade", "Upgrade", "websocket"},
	} {
		if _, left, bounded := serve(append(fields, "X-Request-Timeout-Ms", "60000")...); bounded {
			t.Errorf("%q: %v left", fields, left)
		}
	}
}

func TestTheContextEndsAtTheDeadline(t *testing.T) {
	for _, value := range []string{"0", "20"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Request-Timeout-Ms", value)
		Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(slack):
			}
			if err := r.Context().Err(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s ms: %v", value, err)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
}

func TestNothingIsLeftBehindWhenTheHandlerReturns(t *testing.T) {
	if ctx, _, _ := serve("X-Request-Timeout-Ms", "60000"); ctx.Err() != context.Canceled {
		t.Errorf("the timer still runs: %v", ctx.Err())
	}
}

func TestAnEarlierDeadlineStays(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	r.Header.Set("X-Request-Timeout-Ms", "60000")
	Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if end, _ := r.Context().Deadline(); time.Until(end) > time.Second {
			t.Errorf("%v left", time.Until(end))
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}

// seen is a RoundTripper that keeps what it was to send.
type seen struct{ request *http.Request }

func (s *seen) RoundTrip(r *http.Request) (*http.Response, error) {
	s.request = r
	return &http.Response{StatusCode: 204, Body: http.NoBody, Request: r}, nil
}

func TestFurtherCallsAreToldWhatIsLeft(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		left time.Duration // of the context; 0: it has no deadline
		said string        // by the request already
		want time.Duration // 0: nothing is said
	}{
		{time.Minute, "", time.Minute},
		{time.Minute, "90000", time.Minute},
		{time.Minute, "30000", 30 * time.Second},
		{time.Minute, "nonsense", time.Minute},
		{500 * time.Microsecond, "", time.Millisecond},
		{-time.Second, "", time.Millisecond},
		{100 * day, "", 0},
		{0, "", 0},
		{0, "30000", 30 * time.Second},
	} {
		ctx := context.Background()
		if test.left != 0 {
			bounded, cancel := context.WithTimeout(ctx, test.left)
			defer cancel()
			ctx = bounded
		}
		request, _ := http.NewRequestWithContext(ctx, "GET", "http://127.0.0.1/", nil)
		if test.said != "" {
			request.Header.Set("X-Request-Timeout-Ms", test.said)
		}
		base := new(seen)
		if _, err := (Transport{base}).RoundTrip(request); err != nil {
			t.Fatal(err)
		}
		got, ok := Left(base.request.Header)
		if ok != (test.want != 0) || got > test.want || got < test.want-slack {
			t.Errorf("%+v: said %v, %v", test, got, base.request.Header)
		}
		if request.Header.Get("X-Request-Timeout-Ms") != test.said {
			t.Errorf("%+v: the caller's request was changed: %v", test, request.Header)
		}
	}
}

func TestBothFieldsAreSent(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "GET", "http://127.0.0.1/", nil)
	base := new(seen)
	if _, err := (Transport{base}).RoundTrip(request); err != nil {
		t.Fatal(err)
	}
	header := base.request.Header
	if header.Get(fields[0]) == "" || header.Get(fields[0]) != header.Get(fields[1]) {
		t.Error(header)
	}
}

// TestABudgetIsSpentAlongAChain has a client call a service that calls another.
func TestABudgetIsSpentAlongAChain(t *testing.T) {
	const pause = 50 * time.Millisecond
	last := httptest.NewServer(Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		end, ok := r.Context().Deadline()
		if !ok {
			t.Error("no deadline at the end of the chain")
		}
		io.WriteString(w, strconv.FormatInt(time.Until(end).Milliseconds(), 10))
	})))
	defer last.Close()
	// A client's own timeout is a deadline of the request's context, too.
	client := &http.Client{Transport: Transport{}, Timeout: time.Minute}
	first := httptest.NewServer(Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(pause)
		request, _ := http.NewRequestWithContext(r.Context(), "GET", last.URL, nil)
		response, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		io.Copy(w, response.Body)
	})))
	defer first.Close()

	response, err := client.Get(first.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	ms, err := strconv.Atoi(string(body))
	left := time.Duration(ms) * time.Millisecond
	if err != nil || left > time.Minute-pause || left < time.Minute-pause-slack {
		t.Errorf("%s ms are left: %v", body, err)
	}
}
