package platformdb

import (
	"database/sql/driver"
	"fmt"
	"net/url"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
	goora "github.com/sijms/go-ora/v2"
)

// kind is what differs between databases.
type kind struct {
	connect  func(*Source) (driver.Connector, error)
	port     func(secure bool) int
	query    func(view, tenants string, limit int) string
	readOnly bool   // the driver knows read-only transactions
	begin    string // what makes the transaction one otherwise
}

const columns = "Id, Username, Name, Email, Is_Active"

var kinds = map[string]kind{
	"sqlserver": {
		connect: sqlServer,
		port:    func(bool) int { return 1433 },
		query: func(view, tenants string, limit int) string {
			return fmt.Sprintf("SELECT TOP (%d) %s FROM %s WHERE Tenant_Id IN (%s) ORDER BY Id", limit, columns, view, tenants)
		},
	},
	"oracle": {
		connect: oracle,
		port: func(secure bool) int {
			if secure {
				return 2484
			}
			return 1521
		},
		query: func(view, tenants string, limit int) string {
			const query = "SELECT * FROM (SELECT %s FROM %s WHERE Tenant_Id IN (%s) ORDER BY Id) WHERE ROWNUM <= %d"
			return fmt.Sprintf(query, columns, view, tenants, limit)
		},
		begin: "SET TRANSACTION READ ONLY",
	},
	"postgres": {
		connect: postgres,
		port:    func(bool) int { return 5432 },
		query: func(view, tenants string, limit int) string {
			return fmt.Sprintf("SELECT %s FROM %s WHERE Tenant_Id IN (%s) ORDER BY Id LIMIT %d", columns, view, tenants, limit)
		},
		readOnly: true,
	},
}

// sqlServer says ApplicationIntent=ReadOnly: an availability group answers from a readable secondary where it has one.
func sqlServer(s *Source) (driver.Connector, error) {
	q := url.Values{"database": {s.config.Database}, "applicationintent": {"ReadOnly"}, "app name": {"idbridge"},
		"dial timeout": {"10"}, "encrypt": {"disable"}}
	if s.tls != nil {
		q.Set("encrypt", "true")
		q.Set("trustservercertificate", "false")
		q.Set("tlsmin", "1.2")
	}
	u := url.URL{Scheme: "sqlserver", User: url.UserPassword(s.config.User, s.config.Password.Reveal()), Host: s.server(),
		RawQuery: q.Encode()}
	config, err := msdsn.Parse(u.String())
	if err != nil {
		return nil, err
	}
	if s.tls != nil && s.tls.RootCAs != nil {
		config.TLSConfig.RootCAs = s.tls.RootCAs
	}
	return mssql.NewConnectorConfig(config), nil
}

func oracle(s *Source) (driver.Connector, error) {
	options := map[string]string{"CONNECTION TIMEOUT": strconv.Itoa(int(s.config.Timeout.Seconds()))}
	if s.tls != nil {
		options["SSL"], options["SSL VERIFY"] = "enable", "true"
	}
	address := goora.BuildUrl(s.config.Host, s.port(), s.config.Database, s.config.User, s.config.Password.Reveal(), options)
	connector, ok := goora.NewConnector(address).(*goora.OracleConnector)
	if !ok {
		return nil, fmt.Errorf("the Oracle driver has changed")
	}
	if s.tls != nil {
		connector.WithTLSConfig(s.tls.Clone())
	}
	return connector, nil
}

func postgres(s *Source) (driver.Connector, error) {
	config, err := pgx.ParseConfig("sslmode=disable") // nothing else; the environment's variables are overwritten below
	if err != nil {
		return nil, err
	}
	config.Host, config.Port, config.Database = s.config.Host, uint16(s.port()), s.config.Database //nolint:gosec // New has checked it
	config.User, config.Password, config.Fallbacks = s.config.User, s.config.Password.Reveal(), nil
	config.TLSConfig = s.tls.Clone()
	config.RuntimeParams = map[string]string{"application_name": "idbridge", "default_transaction_read_only": "on"}
	return stdlib.GetConnector(*config), nil
}
