package sqldb

import "errors"

// Cause is what may be repeated of an error that anybody may have written, a
// store of the application for one: what [Safe] makes of a database's answer,
// and the words of this library, of database/sql and of the network. "" says
// that nothing is left.
func Cause(err error) string {
	var answer *DriverError
	if errors.As(Safe(err), &answer) && answer.Code != "" {
		return answer.Error()
	}
	var schema *SchemaError
	if errors.As(err, &schema) {
		return schema.Error()
	}
	if fine := harmlessIn(err); fine != nil {
		return fine.Error()
	}
	return ""
}
