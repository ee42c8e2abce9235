package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
)

// door is idbridge's plugin door as the platform sees it.
type door struct {
	address  string // host:port
	path     string
	user     string
	secret   string
	provider string // put before the user name, PREFIX\user, where several providers are configured
}

// soapCaller sends sign-ins over one kept-alive connection. It writes and reads HTTP by hand, so that as little as possible
// of the two cores goes to the caller: what is measured is the bridge.
type soapCaller struct {
	d      door
	conn   net.Conn
	in     *bufio.Reader
	head   string
	out    bytes.Buffer
	answer []byte
	want   func(answer []byte, n int) error
	pass   func(n int) string
}

// The request, around the user name and the password.
const (
	beforeName = `<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">` +
		`<soap:Body><User_AuthenticateWithCredentials xmlns="http://www.outsystems.com"><Username>`
	beforePassword = `</Username><Password>`
	afterPassword  = `</Password></User_AuthenticateWithCredentials></soap:Body></soap:Envelope>`
)

func (d door) signIns() (caller, error) { return d.caller(password, granted) }

// refusals sends wrong passwords, a different one each time.
func (d door) refusals() (caller, error) {
	return d.caller(func(n int) string { return "wrong" + strconv.Itoa(n) }, refused)
}

func (d door) caller(pass func(int) string, want func([]byte, int) error) (caller, error) {
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		return nil, err
	}
	auth := base64.StdEncoding.EncodeToString([]byte(d.user + ":" + d.secret))
	head := "POST " + d.path + " HTTP/1.1\r\nHost: " + d.address + "\r\nAuthorization: Basic " + auth +
		"\r\nContent-Type: text/xml; charset=utf-8\r\nSOAPAction: \"\"\r\nContent-Length: "
	return &soapCaller{d: d, conn: conn, in: bufio.NewReader(conn), head: head, want: want, pass: pass}, nil
}

func (s *soapCaller) close() { s.conn.Close() }

func (s *soapCaller) attempt(n int) error {
	name, pass := username(n), s.pass(n)
	length := len(beforeName) + len(s.d.provider) + len(name) + len(beforePassword) + len(pass) + len(afterPassword)
	s.out.Reset()
	for _, part := range []string{
		s.head, strconv.Itoa(length), "\r\n\r\n", beforeName, s.d.provider, name, beforePassword, pass, afterPassword,
	} {
		s.out.WriteString(part)
	}
	if _, err := s.conn.Write(s.out.Bytes()); err != nil {
		return err
	}
	if err := s.read(); err != nil {
		return err
	}
	return s.want(s.answer, n)
}

// read takes one response with a Content-Length off the connection.
func (s *soapCaller) read() error {
	status, err := s.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.Contains(status, []byte(" 200 ")) {
		return fmt.Errorf("the door answered %q", bytes.TrimSpace(status))
	}
	length := -1
	for {
		line, err := s.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	if length < 0 {
		return fmt.Errorf("no Content-Length")
	}
	s.answer = append(s.answer[:0], make([]byte, length)...)
	_, err = io.ReadFull(s.in, s.answer)
	return err
}

// granted checks that the answer is a success with the id of that very user.
func granted(answer []byte, n int) error {
	id := []byte("UserId>" + strconv.Itoa(userID(n)) + "<")
	if !bytes.Contains(answer, id) || !bytes.Contains(answer, []byte("Success>true<")) {
		return fmt.Errorf("not granted: %s", answer)
	}
	return nil
}

func refused(answer []byte, _ int) error {
	if !bytes.Contains(answer, []byte("Success>false<")) {
		return fmt.Errorf("not refused: %s", answer)
	}
	return nil
}

func userID(n int) int { return 1000 + n }
