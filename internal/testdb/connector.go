package testdb

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/go-sql-driver/mysql"
)

// handle opens the data source name with the driver named, as sql.Open does.
func handle(name, dsn string) (*sql.DB, error) {
	to, err := connector(name, dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(to), nil
}

// connector is where the connections of a driver come from. The one of MariaDB
// would write a line to standard error for each connection that ends without
// being closed: there that is what tests do, and the error says it as well.
func connector(name, dsn string) (driver.Connector, error) {
	if name == "mysql" {
		config, err := mysql.ParseDSN(dsn)
		if err != nil {
			return nil, err
		}
		config.Logger = &mysql.NopLogger{}
		return mysql.NewConnector(config)
	}
	plain, err := sql.Open(name, dsn) // which is how a registered driver is found
	if err != nil {
		return nil, err
	}
	if err := plain.Close(); err != nil {
		return nil, err
	}
	if with, ok := plain.Driver().(driver.DriverContext); ok {
		return with.OpenConnector(dsn)
	}
	return byName{dsn, plain.Driver()}, nil
}

// byName makes a connector of a driver that has none.
type byName struct {
	dsn    string
	driver driver.Driver
}

func (b byName) Connect(context.Context) (driver.Conn, error) { return b.driver.Open(b.dsn) }
func (b byName) Driver() driver.Driver                        { return b.driver }
