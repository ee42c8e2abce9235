// A SOAP client by npm's soap. See soapclients.go for what goes in and out.
const readline = require('node:readline');
const soap = require('soap');

const [url, user, version] = process.argv.slice(2);
const secret = process.env.SOAP_SECRET;
const basic = 'Basic ' + Buffer.from(user + ':' + secret).toString('base64');

function input(method, args) {
  if (method === 'Plugin_SetConfigurations') {
    return { Configuration: { PluginAPIConfigurationParameter: [{ Name: args[0], Value: args[1] }] } };
  }
  const names = ['Username', 'Password'];
  return Object.fromEntries(args.map((a, i) => [names[i], a]));
}

function flat(r) {
  const s = (r && r.Status) || {};
  const lists = r || {};
  const list = (lists.SupportedCapabilities || {}).Capability ||
    (lists.Configuration || {}).PluginAPIConfigurationParameter || [];
  const text = (v) => (typeof v === 'string' ? v : '');
  return {
    success: s.Success, responseId: s.ResponseId, message: text(s.ResponseMessage), info: text(s.ResponseAdditionalInfo),
    userId: lists.UserId || 0, pairs: [].concat(list).map((p) => [text(p.Name), text(p.Value)]),
  };
}

async function main() {
  const client = await soap.createClientAsync(url + '?wsdl',
    { wsdl_headers: { Authorization: basic }, forceSoap12Headers: version === '1.2' });
  client.setSecurity(new soap.BasicAuthSecurity(user, secret));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [method, ...args] = line.split('\t');
    let answer;
    try {
      const [result] = await client[method + 'Async'](input(method, args));
      answer = flat(result);
    } catch (e) {
      const fault = e.root && e.root.Envelope && e.root.Envelope.Body.Fault;
      if (!fault) throw e;
      answer = { fault: fault.faultstring || fault.Reason.Text.$value };
    }
    console.log(JSON.stringify(answer));
  }
}

main().catch((e) => { console.error(e); process.exit(1); });
