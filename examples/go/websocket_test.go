package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"testing"
)

func TestAcceptKeyOfTheRFC(t *testing.T) {
	if got := acceptKey("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
}

func TestWebSocketEchoesFrames(t *testing.T) {
	conn := dial(t, start(t))
	io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != 101 || response.Header.Get("Sec-Websocket-Accept") == "" {
		t.Fatalf("got %v, %v", response, err)
	}
	big := bytes.Repeat([]byte("0123456789"), 20_000)
	for _, step := range []struct {
		final      bool
		sent, want byte
		payload    []byte
	}{
		{true, opText, opText, []byte("hello")},
		{false, opBinary, opBinary, []byte("frag")},
		{true, opPing, opPong, []byte("in between")},
		{true, opContinuation, opContinuation, bytes.Repeat([]byte("x"), 300)},
		{true, opBinary, opBinary, big},
		{true, opText, opText, nil},
		{true, opClose, opClose, binary.BigEndian.AppendUint16(nil, 1000)},
	} {
		conn.Write(clientFrame(step.final, step.sent, step.payload))
		want := append(frameHead(step.final, step.want, int64(len(step.payload))), step.payload...)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(reader, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("opcode %d: got %.20q, %v", step.sent, got, err)
		}
	}
	if _, err := reader.ReadByte(); err != io.EOF {
		t.Errorf("after close: %v", err)
	}
}

func TestWebSocketRefusesAnUnmaskedFrame(t *testing.T) {
	in := bufio.NewReader(bytes.NewReader(frameHead(true, opText, 0)))
	if err := echoFrames(bufio.NewReadWriter(in, bufio.NewWriter(io.Discard))); err != errProtocol {
		t.Error(err)
	}
}

func clientFrame(final bool, opcode byte, payload []byte) []byte {
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	out := frameHead(final, opcode, int64(len(payload)))
	out[1] |= 0x80
	out = append(out, mask[:]...)
	for i, b := range payload {
		out = append(out, b^mask[i%4])
	}
	return out
}
