package platform

import "slices"

const (
	schemaNamespace = "http://www.outsystems.com"
	serviceName     = "OSPlatformAuthentication"
	xsd             = "http://www.w3.org/2001/XMLSchema"
)

// member is an element inside an element or a type, as the contract has it.
type member struct {
	name     string
	space    string   // namespace of its type
	types    []string // local names of the types that the platform takes
	min      string
	max      string
	nillable bool
}

func textMember(name string) member {
	return member{name: name, space: xsd, types: []string{"string"}, min: "0", max: "1"}
}

func structMember(name, typ string) member {
	return member{name: name, space: schemaNamespace, types: []string{typ}, min: "0", max: "1"}
}

func scalarMember(name string, types ...string) member {
	return member{name: name, space: xsd, types: types, min: "1", max: "1"}
}

func itemMember(typ string) member {
	return member{name: typ, space: schemaNamespace, types: []string{typ}, min: "0", max: "unbounded", nillable: true}
}

// method is one method of the contract.
type method struct {
	name    string
	in, out []member
}

// contract is all of them.
func contract() []method {
	status := structMember("Status", "PluginAPIStatus")
	configuration := structMember("Configuration", "ArrayOfPluginAPIConfigurationParameter")
	capabilities := structMember("SupportedCapabilities", "ArrayOfCapability")
	userID := scalarMember("UserId", "int", "long") // older platforms say int, newer documentation long
	username, password := textMember("Username"), textMember("Password")
	return []method{
		{"Plugin_GetCapabilities", nil, []member{capabilities, status}},
		{"Plugin_GetAllConfigurations", nil, []member{configuration, status}},
		{"Plugin_SetConfigurations", []member{configuration}, []member{status}},
		{"Plugin_Test", nil, []member{status}},
		{"Plugin_OnActivation", nil, []member{status}},
		{"Plugin_OnDeactivation", nil, nil},
		{"User_AuthenticateWithCredentials", []member{username, password}, []member{userID, status}},
		{"User_AuthenticateWithUsername", []member{username}, []member{userID, status}},
	}
}

// structures are the contract's types.
func structures() map[string][]member {
	pair := []member{textMember("Name"), textMember("Value")}
	return map[string][]member{
		"Capability":                             pair,
		"PluginAPIConfigurationParameter":        pair,
		"ArrayOfCapability":                      {itemMember("Capability")},
		"ArrayOfPluginAPIConfigurationParameter": {itemMember("PluginAPIConfigurationParameter")},
		"PluginAPIStatus": {scalarMember("Success", "boolean"), scalarMember("ResponseId", "int"),
			textMember("ResponseMessage"), textMember("ResponseAdditionalInfo")},
	}
}

func methodNamed(name string) (method, bool) {
	all := contract()
	i := slices.IndexFunc(all, func(m method) bool { return m.name == name })
	if i < 0 {
		return method{}, false
	}
	return all[i], true
}
