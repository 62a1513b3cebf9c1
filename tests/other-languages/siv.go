// Seals every symmetric message of the vectors, and opens it again: go run siv.go jacobsa|miscreant VECTORS
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/jacobsa/crypto/siv"
	"github.com/miscreant/miscreant.go"
)

func run(library string, key, time, payload, sealed []byte) ([]byte, []byte, error) {
	twice := append(append([]byte{}, key...), key...)
	if library == "jacobsa" {
		c, err := siv.Encrypt(nil, twice, payload, [][]byte{time})
		if err != nil {
			return nil, nil, err
		}
		p, err := siv.Decrypt(twice, sealed, [][]byte{time})
		return c, p, err
	}
	cipher, err := miscreant.NewAESCMACSIV(twice)
	if err != nil {
		return nil, nil, err
	}
	c, err := cipher.Seal(nil, payload, time)
	if err != nil {
		return nil, nil, err
	}
	p, err := cipher.Open(nil, sealed, time)
	return c, p, err
}

func main() {
	unhex := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		return b
	}
	var vectors struct {
		Messages []struct {
			Key     string `json:"topic_key"`
			Payload string `json:"payload"`
			Sealed  string `json:"protected"`
		} `json:"symmetric_message"`
	}
	text, err := os.ReadFile(os.Args[2])
	if err == nil {
		err = json.Unmarshal(text, &vectors)
	}
	if err != nil {
		panic(err)
	}
	wrong := []string{}
	for _, m := range vectors.Messages {
		sealed, payload := unhex(m.Sealed), unhex(m.Payload)
		c, p, err := run(os.Args[1], unhex(m.Key), sealed[:8], payload, sealed[8:])
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%d bytes: %v", len(payload), err))
		} else if !bytes.Equal(c, sealed[8:]) || !bytes.Equal(p, payload) {
			wrong = append(wrong, fmt.Sprintf("%d bytes: other bytes", len(payload)))
		}
	}
	if len(wrong) == 0 {
		wrong = []string{"none"}
	}
	fmt.Printf("%d messages, wrong: %s\n", len(vectors.Messages), strings.Join(wrong, "; "))
}
