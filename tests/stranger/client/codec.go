// Package client speaks the guest protocol as proto/PROTOCOL.md describes it. It was written from that page alone, and shares
// nothing with the other implementations: when it and initd disagree, the page or one of the two is wrong.
package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
)

const (
	headerSize = 12
	frameMax   = 65536
	// PayloadMax is the largest payload of a frame, in bytes (PROTOCOL.md 2).
	PayloadMax = frameMax - headerSize
)

// Frame is what is on the wire before a message's fields are looked at.
type Frame struct {
	Kind, Flags uint16
	Stream      uint32
	Payload     []byte
}

// Bytes are the frame as it is sent; nothing is checked, so that it can also be wrong.
func (f Frame) Bytes() []byte {
	out := make([]byte, headerSize, headerSize+len(f.Payload))
	binary.LittleEndian.PutUint32(out, uint32(len(f.Payload)))
	binary.LittleEndian.PutUint16(out[4:], f.Kind)
	binary.LittleEndian.PutUint16(out[6:], f.Flags)
	binary.LittleEndian.PutUint32(out[8:], f.Stream)
	return append(out, f.Payload...)
}

// Encode makes the frame of a message, a struct of messages.go.
func Encode(stream uint32, message any) Frame {
	value := reflect.ValueOf(message)
	kind, known := kindOf[value.Type()]
	if !known {
		panic(fmt.Sprintf("%T is no message", message))
	}
	var payload []byte
	for i := 0; i < value.NumField(); i++ {
		payload = appendField(payload, value.Field(i).Interface())
	}
	return Frame{Kind: kind, Stream: stream, Payload: payload}
}

func appendField(out []byte, field any) []byte {
	order := binary.LittleEndian
	switch v := field.(type) {
	case uint8:
		return append(out, v)
	case uint16:
		return order.AppendUint16(out, v)
	case uint32:
		return order.AppendUint32(out, v)
	case uint64:
		return order.AppendUint64(out, v)
	case [16]byte:
		return append(out, v[:]...)
	case string:
		return appendBytes(out, joinStrings([]string{v}))
	case []string:
		return appendBytes(out, joinStrings(v))
	case []byte:
		return appendBytes(out, v)
	case []uint32:
		out = order.AppendUint32(out, uint32(len(v)))
		for _, each := range v {
			out = order.AppendUint32(out, each)
		}
		return out
	}
	panic(fmt.Sprintf("%T is no field", field))
}

func appendBytes(out, data []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(data))), data...)
}

// joinStrings puts strings back to back, each with its NUL.
func joinStrings(all []string) []byte {
	var out []byte
	for _, each := range all {
		out = append(append(out, each...), 0)
	}
	return out
}

// Decode makes the message of a frame. Whatever is not exactly as the page says is an error.
func Decode(f Frame) (any, error) {
	kind, known := typeOf[f.Kind]
	if !known {
		return nil, fmt.Errorf("message type %d is unknown", f.Kind)
	}
	if f.Flags != 0 {
		return nil, fmt.Errorf("%s with flags %#x", kind.Name(), f.Flags)
	}
	r := reader{rest: f.Payload}
	value := reflect.New(kind).Elem()
	for i := 0; i < value.NumField(); i++ {
		r.field(value.Field(i))
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%d bytes are left over", len(r.rest))
	}
	if r.err != nil {
		return nil, fmt.Errorf("%s: %w", kind.Name(), r.err)
	}
	return value.Interface(), nil
}

// reader takes fields from a payload. After an error it gives zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(size uint64) []byte {
	if r.err == nil && size > uint64(len(r.rest)) {
		r.err = errors.New("ends early")
	}
	if r.err != nil {
		return nil
	}
	out := r.rest[:size]
	r.rest = r.rest[size:]
	return out
}

func (r *reader) number(size int) uint64 {
	var out uint64
	for i, b := range r.take(uint64(size)) {
		out |= uint64(b) << (8 * i)
	}
	return out
}

func (r *reader) text() string {
	data := r.take(r.number(4))
	if r.err == nil && (len(data) == 0 || bytes.IndexByte(data, 0) != len(data)-1) {
		r.err = fmt.Errorf("%q is no str", data)
	}
	if r.err != nil {
		return ""
	}
	return string(data[:len(data)-1])
}

func (r *reader) field(to reflect.Value) {
	switch to.Interface().(type) {
	case uint8, uint16, uint32, uint64:
		to.SetUint(r.number(int(to.Type().Size())))
	case string:
		to.SetString(r.text())
	case []byte:
		to.SetBytes(append([]byte{}, r.take(r.number(4))...))
	case []uint32:
		count := r.number(4)
		data := reader{rest: r.take(count * 4), err: r.err}
		all := []uint32{}
		for ; r.err == nil && count > 0; count-- {
			all = append(all, uint32(data.number(4)))
		}
		to.Set(reflect.ValueOf(all))
	default: // uuid and strs: no message of a guest has one
		r.err = fmt.Errorf("%s comes from hosts only", to.Type())
	}
}
