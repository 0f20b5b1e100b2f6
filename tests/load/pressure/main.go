// Command pressure loads a proxy and counts what comes of it, on one thread
// and as cheaply as it can be done: the requests are made beforehand, and a
// request and its answer are a write, a read and a share of an epoll_wait.
//
// With -rate it is an open loop: so many requests are due each second, whether
// answers come or not. One that is due and finds all connections waiting for
// an answer waits too, and counts as unsent if it still does at the end. Without
// -rate, each connection asks again as soon as it is answered.
//
// With -heed, a connection that was answered with Retry-After is not used until
// that has passed; else that is not looked at.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const mostEvents = 512

// connection is one to the proxy; it has at most one request in flight.
type connection struct {
	fd   int
	sent time.Duration // when its request was
	got  []byte        // of an answer that did not come in one piece
}

// pause is of a connection that was told to wait.
type pause struct {
	until time.Duration
	i     int
}

// result is what is printed. Times are milliseconds.
type result struct {
	Offered     int            `json:"offered"`
	Unsent      int            `json:"unsent"`
	Waiting     int            `json:"waiting"`
	Statuses    map[string]int `json:"statuses"`
	Closed      int            `json:"closed"`
	Seconds     float64        `json:"seconds"`
	P50         float64        `json:"p50_ms"`
	P99         float64        `json:"p99_ms"`
	RefusedP50  float64        `json:"refused_p50_ms"`
	RefusedP99  float64        `json:"refused_p99_ms"`
	BusySeconds float64        `json:"busy_seconds"`
}

type load struct {
	address  syscall.SockaddrInet4
	request  []byte
	rate     float64
	heed     bool
	epoll    int
	all      []connection
	idle     []int // a ring
	first, n int
	told     []pause // in the order in which they end
	began    time.Time
	issued   int
	closed   int
	statuses map[int]int
	good     []float32
	refused  []float32
}

func main() {
	address := flag.String("address", "", "`host:port` of the proxy")
	target := flag.String("target", "/hello", "what is asked for")
	connections := flag.Int("connections", 64, "how many")
	rate := flag.Float64("rate", 0, "requests a second (0 = a closed loop)")
	heed := flag.Bool("heed", false, "wait for as long as Retry-After says")
	warm := flag.Duration("warm", 0, "load for so long before anything is counted")
	lasts := flag.Duration("for", 5*time.Second, "how long")
	flag.Parse()
	runtime.LockOSThread()
	l := newLoad(*address, *target, *connections, *rate)
	l.heed = *heed
	say("connected")
	hear()
	if *warm > 0 {
		l.run(*warm)
		l.forget()
	}
	say("warm")
	used := processorTime()
	l.run(*lasts)
	l.report(processorTime() - used)
	hear()
}

// say tells whoever measures how far it is; hear waits for its leave to go on.
// The end of all connections costs the proxy something that is no part of this.
func say(what string) {
	fmt.Fprintf(os.Stdout, "%q\n", what)
}

func hear() {
	os.Stdin.Read(make([]byte, 1))
}

func newLoad(address, target string, connections int, rate float64) *load {
	where, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		log.Fatal(err)
	}
	l := &load{rate: rate, request: request(target), statuses: map[int]int{}, began: time.Now()}
	l.address.Port = where.Port
	copy(l.address.Addr[:], where.IP.To4())
	if l.epoll, err = syscall.EpollCreate1(0); err != nil {
		log.Fatal(err)
	}
	l.all = make([]connection, connections)
	l.idle = make([]int, connections)
	for i := range l.all {
		l.connect(i)
	}
	return l
}

// request is as a client's library sends it: a dozen fields.
func request(target string) []byte {
	return []byte("GET " + target + " HTTP/1.1\r\nHost: service.test\r\nUser-Agent: pressure/1.0\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.8\r\n" +
		"Cache-Control: no-cache\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=light\r\n" +
		"Referer: https://example.test/orders/list?page=3\r\nOrigin: https://example.test\r\n" +
		"X-Forwarded-For: 192.0.2.7\r\nX-Tenant: 4711\r\n\r\n")
}

func (l *load) connect(i int) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		err = syscall.Connect(fd, &l.address) // blocks; on this machine that is no wait
	}
	if err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	if err == nil {
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)}
		err = syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &event)
	}
	if err != nil {
		log.Fatal(err)
	}
	l.all[i] = connection{fd: fd}
	l.free(i)
}

func (l *load) free(i int) {
	l.idle[(l.first+l.n)%len(l.idle)] = i
	l.n++
}

// forget begins the counts anew; what is due was not sent before.
func (l *load) forget() {
	l.issued, l.closed = 0, 0
	l.statuses = map[int]int{}
	l.good, l.refused = l.good[:0], l.refused[:0]
}

func (l *load) run(lasts time.Duration) {
	begin := time.Since(l.began)
	events := make([]syscall.EpollEvent, mostEvents)
	buffer := make([]byte, 1<<16)
	for {
		now := time.Since(l.began)
		if now-begin >= lasts {
			return
		}
		for len(l.told) > 0 && l.told[0].until <= now {
			l.free(l.told[0].i)
			l.told = l.told[1:]
		}
		due := l.issued + l.n
		if l.rate > 0 {
			due = min(due, int(l.rate*(now-begin).Seconds()))
		}
		for l.issued < due && l.n > 0 {
			i := l.idle[l.first]
			l.first = (l.first + 1) % len(l.idle)
			l.n--
			l.send(i, now)
		}
		count, err := syscall.EpollWait(l.epoll, events, 1)
		if err != nil && err != syscall.EINTR {
			log.Fatal(err)
		}
		now = time.Since(l.began)
		for _, event := range events[:max(count, 0)] {
			l.read(int(event.Fd), buffer, now)
		}
	}
}

func (l *load) send(i int, now time.Duration) {
	l.issued++
	c := &l.all[i]
	c.sent = now
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(c.fd),
		uintptr(unsafe.Pointer(&l.request[0])), uintptr(len(l.request)))
	if errno != 0 || int(n) != len(l.request) {
		l.again(i)
	}
}

func (l *load) read(i int, buffer []byte, now time.Duration) {
	c := &l.all[i]
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)))
	if errno == syscall.EAGAIN {
		return
	}
	if errno != 0 || n == 0 {
		l.again(i)
		return
	}
	answer := buffer[:n]
	if len(c.got) > 0 {
		c.got = append(c.got, answer...)
		answer = c.got
	}
	status, after, whole := parse(answer)
	if !whole {
		if len(c.got) == 0 {
			c.got = append(c.got, answer...)
		}
		return
	}
	c.got = c.got[:0]
	l.statuses[status]++
	took := float32((now - c.sent).Seconds() * 1000)
	if status == 200 {
		l.good = append(l.good, took)
	} else {
		l.refused = append(l.refused, took)
	}
	if l.heed && after > 0 {
		l.pause(i, now+after)
		return
	}
	l.free(i)
}

func (l *load) pause(i int, until time.Duration) {
	at, _ := slices.BinarySearchFunc(l.told, until, func(p pause, until time.Duration) int {
		return cmp.Compare(p.until, until)
	})
	l.told = slices.Insert(l.told, at, pause{until, i})
}

// again replaces a connection that was closed, with a request in flight or not.
func (l *load) again(i int) {
	l.closed++
	syscall.Close(l.all[i].fd)
	idle := l.idle[:0:0]
	for k := range l.n {
		if j := l.idle[(l.first+k)%len(l.idle)]; j != i {
			idle = append(idle, j)
		}
	}
	l.first, l.n = 0, copy(l.idle, idle)
	l.told = slices.DeleteFunc(l.told, func(p pause) bool { return p.i == i })
	l.connect(i)
}

// parse returns an answer's status, what its Retry-After says, and whether all
// of it is there.
func parse(answer []byte) (int, time.Duration, bool) {
	end := bytes.Index(answer, []byte("\r\n\r\n"))
	if end < 12 {
		return 0, 0, false
	}
	head := answer[:end+2]
	size := number(head, "\r\nContent-Length: ")
	if size < 0 {
		log.Fatalf("an answer without Content-Length: %q", head)
	}
	status := int(head[9]-'0')*100 + int(head[10]-'0')*10 + int(head[11]-'0')
	after := 0
	if status == 503 {
		after = max(0, number(head, "\r\nRetry-After: "))
	}
	return status, time.Duration(after) * time.Second, len(answer) >= end+4+size
}

// number returns that of a field in a head, -1 where it has none. The name is
// first looked for as it is mostly written.
func number(head []byte, name string) int {
	at := bytes.Index(head, []byte(name))
	if at < 0 {
		at = bytes.Index(bytes.ToLower(head), bytes.ToLower([]byte(name)))
	}
	if at < 0 {
		return -1
	}
	digits := head[at+len(name):]
	value, err := strconv.Atoi(string(digits[:bytes.IndexByte(digits, '\r')]))
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func (l *load) report(busy time.Duration) {
	statuses := map[string]int{}
	for status, count := range l.statuses {
		statuses[strconv.Itoa(status)] = count
	}
	seconds := flagDuration("for").Seconds()
	offered := l.issued
	if l.rate > 0 {
		offered = int(l.rate * seconds)
	}
	out := result{
		Offered: offered, Unsent: offered - l.issued, Waiting: len(l.all) - l.n, Statuses: statuses, Closed: l.closed,
		Seconds: seconds, BusySeconds: busy.Seconds(),
	}
	out.P50, out.P99 = percentiles(l.good)
	out.RefusedP50, out.RefusedP99 = percentiles(l.refused)
	line, err := json.Marshal(out)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stdout, string(line))
}

func percentiles(times []float32) (p50, p99 float64) {
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return float64(times[len(times)/2]), float64(times[len(times)*99/100])
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func flagDuration(name string) time.Duration {
	return flag.Lookup(name).Value.(flag.Getter).Get().(time.Duration)
}
