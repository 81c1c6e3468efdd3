// server.js PORT BUILD: a shop whose builds v2-errors and v2-slow are what they are called.
const http = require('http')
const [port, build] = process.argv.slice(2)
let asked = 0

http.createServer((request, response) => {
  let body = ''
  request.on('data', piece => { body += piece })
  request.on('end', () => {
    if (request.url === '/ready') return response.end('ready\n')
    const broken = build === 'v2-errors' && ++asked > 60 && Math.random() < 0.15
    const wait = (build === 'v2-slow' ? 60 : 20) + Math.random() * 20
    setTimeout(() => {
      response.writeHead(broken ? 500 : 200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ build, said: body }))
    }, wait)
  })
}).listen(Number(port), '127.0.0.1')
