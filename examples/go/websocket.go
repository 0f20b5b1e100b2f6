package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
)

// The opcodes and close codes of RFC 6455 that an echo needs.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	closeProtocolError = 1002

	acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

var errProtocol = errors.New("websocket: protocol error")

// serveWebSocket echoes messages, frame by frame: a fragmented message comes
// back in the same fragments, and no message is held in memory. Text is not
// checked for UTF-8.
func serveWebSocket(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	switch {
	case !hasToken(r.Header, "Connection", "upgrade"), !hasToken(r.Header, "Upgrade", "websocket"):
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "this path speaks WebSocket", http.StatusUpgradeRequired)
		return
	case r.Header.Get("Sec-WebSocket-Version") != "13", key == "":
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, "WebSocket version 13 and a key are needed", http.StatusBadRequest)
		return
	}
	conn, buffered, ok := takeOver(w, "websocket", "Sec-WebSocket-Accept: "+acceptKey(key)+"\r\n")
	if !ok {
		return
	}
	defer conn.Close()
	if err := echoFrames(buffered); errors.Is(err, errProtocol) {
		sendFrame(buffered, opClose, binary.BigEndian.AppendUint16(nil, closeProtocolError))
	}
}

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// frame is the head of one frame from a client.
type frame struct {
	final  bool
	opcode byte
	length int64
	mask   [4]byte
}

// echoFrames answers frames until the client closes or breaks the protocol.
func echoFrames(rw *bufio.ReadWriter) error {
	inMessage := false
	for {
		f, err := readFrame(rw.Reader)
		if err != nil {
			return err
		}
		switch f.opcode {
		case opText, opBinary, opContinuation:
			if inMessage != (f.opcode == opContinuation) {
				return errProtocol
			}
			inMessage = !f.final
			err = echoData(rw, f)
		case opPing, opPong, opClose:
			if err = answerControl(rw, f); err == nil && f.opcode == opClose {
				return nil
			}
		default:
			return errProtocol
		}
		if err != nil {
			return err
		}
	}
}

func readFrame(r *bufio.Reader) (frame, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return frame{}, err
	}
	reserved, masked := head[0]&0x70 != 0, head[1]&0x80 != 0
	if reserved || !masked {
		return frame{}, errProtocol
	}
	f := frame{final: head[0]&0x80 != 0, opcode: head[0] & 0x0F, length: int64(head[1] & 0x7F)}
	extra := 0
	switch f.length {
	case 126:
		extra = 2
	case 127:
		extra = 8
	}
	if extra > 0 {
		clear(head[:])
		if _, err := io.ReadFull(r, head[8-extra:]); err != nil {
			return frame{}, err
		}
		f.length = int64(binary.BigEndian.Uint64(head[:]))
	}
	isControl := f.opcode >= opClose
	if f.length < 0 || isControl && (f.length > 125 || !f.final) {
		return frame{}, errProtocol
	}
	_, err := io.ReadFull(r, f.mask[:])
	return f, err
}

// echoData sends a data frame back as its bytes arrive.
func echoData(rw *bufio.ReadWriter, f frame) error {
	if _, err := rw.Write(frameHead(f.final, f.opcode, f.length)); err != nil {
		return err
	}
	buf := make([]byte, min(f.length, piece))
	for done := int64(0); done < f.length; {
		n, err := rw.Read(buf[:min(f.length-done, int64(len(buf)))])
		for i := range buf[:n] {
			buf[i] ^= f.mask[(done+int64(i))%4]
		}
		if _, err := rw.Write(buf[:n]); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		done += int64(n)
	}
	return rw.Flush()
}

// answerControl sends a pong for a ping and a close for a close.
func answerControl(rw *bufio.ReadWriter, f frame) error {
	payload := make([]byte, f.length)
	if _, err := io.ReadFull(rw, payload); err != nil {
		return err
	}
	for i := range payload {
		payload[i] ^= f.mask[i%4]
	}
	switch f.opcode {
	case opPing:
		return sendFrame(rw, opPong, payload)
	case opClose:
		return sendFrame(rw, opClose, payload)
	}
	return nil
}

func sendFrame(rw *bufio.ReadWriter, opcode byte, payload []byte) error {
	rw.Write(frameHead(true, opcode, int64(len(payload))))
	rw.Write(payload)
	return rw.Flush()
}

// frameHead is the head of an unmasked frame, as a server sends it.
func frameHead(final bool, opcode byte, length int64) []byte {
	if final {
		opcode |= 0x80
	}
	switch {
	case length <= 125:
		return []byte{opcode, byte(length)}
	case length <= 0xFFFF:
		return binary.BigEndian.AppendUint16([]byte{opcode, 126}, uint16(length))
	default:
		return binary.BigEndian.AppendUint64([]byte{opcode, 127}, uint64(length))
	}
}
