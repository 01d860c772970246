package killtest

import (
	"os"
	"time"
)

// Watch reads a file again and again, as a witness would; the returned func ends it
// and gives each state of the file in the order of reading, with the one that is
// there now.
func Watch(file string) (end func() [][]byte) {
	var list [][]byte
	stop, done := make(chan struct{}), make(chan struct{})
	read := func() {
		data, err := os.ReadFile(file)
		if err == nil && (len(list) == 0 || string(list[len(list)-1]) != string(data)) {
			list = append(list, data)
		}
	}
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				read()
			}
		}
	}()
	return func() [][]byte {
		close(stop)
		<-done
		read()
		return list
	}
}
